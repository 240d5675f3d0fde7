// Command registry is the distribution registry with an access log that can be asserted on.
//
// It differs from the registry's own command in two ways: only the storage drivers and kinds of login that tests use
// are compiled in, and every answer is logged with the user who asked *before* the answer leaves. So a client that has
// its answer finds the line in the log. Passwords are never logged.
package main

import (
	"encoding/json"
	"net/http"
	"os"
	"sync"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// access is one line of the access log.
type access struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	// Authorization tells whether the request carried that header at all.
	Authorization bool `json:"authorization"`
	// User is the name from a Basic login, whether it was accepted or not.
	User string `json:"user,omitempty"`
}

// log writes whole lines to stdout; the registry's own log goes to stderr.
type log struct {
	mu sync.Mutex
}

func (l *log) write(line access) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		// Without its log the registry would let assertions pass that should fail.
		os.Exit(1)
	}
}

// recorder logs at the moment the status is decided, which is before any byte of the answer is sent.
type recorder struct {
	http.ResponseWriter
	line access
	log  *log
	done bool
}

func (r *recorder) WriteHeader(status int) {
	if status >= 200 && !r.done {
		r.done = true
		r.line.Status = status
		r.log.write(r.line)
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(body []byte) (int, error) {
	if !r.done {
		r.WriteHeader(http.StatusOK)
	}
	return r.ResponseWriter.Write(body)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func main() {
	accesses := &log{}
	registry.RegisterHandler(func(_ *configuration.Configuration, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			user, _, _ := req.BasicAuth()
			r := &recorder{ResponseWriter: w, log: accesses, line: access{
				Method:        req.Method,
				Path:          req.URL.Path,
				Authorization: req.Header.Get("Authorization") != "",
				User:          user,
			}}
			next.ServeHTTP(r, req)
			if !r.done {
				r.WriteHeader(http.StatusOK)
			}
		})
	})
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
