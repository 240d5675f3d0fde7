// Command conditions judges a whole object as GitOps tools do: kstatus says what state it is in, Flux's rules for
// conditions say what is wrong with them.
//
// One JSON object per line on stdin, one JSON verdict per line on stdout, until stdin ends. It must hold no rule of
// its own, or it would judge by our opinion instead of theirs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/meta"
	"github.com/fluxcd/pkg/runtime/conditions"
	"github.com/fluxcd/pkg/runtime/conditions/check"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kerrors "k8s.io/apimachinery/pkg/util/errors"
)

// polarity tells Flux's rules how to read our conditions; Ready, Reconciling and Stalled are Flux's own.
var polarity = &check.Conditions{
	NegativePolarity: []string{meta.StalledCondition, meta.ReconcilingCondition},
	PositivePolarity: []string{meta.ReadyCondition, "CredentialsValid", "Delivered", "Linked"},
}

type verdict struct {
	KStatus    string   `json:"kstatus"`
	Message    string   `json:"message"`
	Violations []string `json:"violations"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conditions:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(bufio.NewReader(in))
	encoder := json.NewEncoder(out)
	for {
		var object json.RawMessage
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := encoder.Encode(judge(object)); err != nil {
			return err
		}
	}
}

func judge(object json.RawMessage) verdict {
	// The unstructured decoder keeps integers as int64, which the rules insist on; encoding/json alone would not.
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(object); err != nil {
		return verdict{KStatus: status.UnknownStatus.String(), Message: err.Error(), Violations: []string{}}
	}
	v := verdict{Violations: violations(u)}
	result, err := status.Compute(u)
	if err != nil {
		v.KStatus, v.Message = status.UnknownStatus.String(), err.Error()
		return v
	}
	v.KStatus, v.Message = result.Status.String(), result.Message
	return v
}

func violations(u *unstructured.Unstructured) []string {
	object := conditions.UnstructuredGetter(u)
	checker := check.NewChecker(nil, polarity)
	if conditions.IsTrue(object, meta.ReconcilingCondition) && conditions.IsUnknown(object, meta.ReadyCondition) {
		// Flux has its own set of rules for a status written in the middle of a reconcile.
		checker = check.NewInProgressChecker(nil)
	}
	// The object is complete already; there is no server to fetch it from.
	checker.DisableFetch = true
	fail, warn := checker.Check(context.Background(), object)
	return append(labelled("error: ", fail), labelled("warning: ", warn)...)
}

func labelled(label string, err error) []string {
	list := []string{}
	if err == nil {
		return list
	}
	var several kerrors.Aggregate
	if !errors.As(err, &several) {
		return append(list, label+err.Error())
	}
	for _, one := range several.Errors() {
		list = append(list, label+one.Error())
	}
	return list
}
