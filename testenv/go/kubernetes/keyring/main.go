// Command keyring answers which credentials the kubelet would try for an image, given a set of pull Secrets.
//
// It is the kubelet's own code over a line protocol: one JSON question per line on stdin, one JSON answer per line on
// stdout, until stdin ends. It must hold no rule of its own, or it would judge by our opinion instead of the kubelet's.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/secrets"
	"k8s.io/kubernetes/pkg/util/parsers"
)

type question struct {
	Image   string      `json:"image"`
	Secrets []v1.Secret `json:"secrets"`
}

type credential struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

type answer struct {
	Credentials []credential `json:"credentials"`
	Error       string       `json:"error,omitempty"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "keyring:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(bufio.NewReader(in))
	encoder := json.NewEncoder(out)
	for {
		var asked json.RawMessage
		if err := decoder.Decode(&asked); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := encoder.Encode(judge(asked)); err != nil {
			return err
		}
	}
}

func judge(asked json.RawMessage) answer {
	var q question
	if err := json.Unmarshal(asked, &q); err != nil {
		return answer{Credentials: []credential{}, Error: "question: " + err.Error()}
	}
	found, err := lookup(q)
	if err != nil {
		return answer{Credentials: []credential{}, Error: err.Error()}
	}
	return answer{Credentials: found}
}

// lookup follows the kubelet's image manager: drop tag and digest, build the keyring from the Pod's Secrets, ask it.
// The node itself has no credentials here.
func lookup(q question) ([]credential, error) {
	repository, _, _, err := parsers.ParseImageName(q.Image)
	if err != nil {
		return nil, err
	}
	keyring, err := secrets.MakeDockerKeyring(q.Secrets, &credentialprovider.BasicDockerKeyring{})
	if err != nil {
		return nil, err
	}
	found := []credential{}
	tried, _ := keyring.Lookup(repository)
	for _, c := range tried {
		found = append(found, credential{Username: c.Username, Password: c.Password})
	}
	return found, nil
}
