// Command health runs a health check in Lua as Argo CD does: one JSON question with script and object per line on stdin,
// one JSON answer per line on stdout, until stdin ends.
//
// It is util/lua/lua.go of Argo CD (at commit 111cf975a5e0, version 3; version 2 opens the same libraries) over a line
// protocol, for a script from argocd-cm without useOpenLibs. It must hold no rule of its own, or it would judge by our
// opinion instead of theirs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// limit is how long a script may run.
const limit = time.Second

// known are the values that Argo CD has for the health of an object.
var known = []string{"Unknown", "Progressing", "Suspended", "Healthy", "Degraded", "Missing"}

type question struct {
	Script string          `json:"script"`
	Object json.RawMessage `json:"object"`
}

type answer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Error   string `json:"error,omitempty"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(bufio.NewReader(in))
	encoder := json.NewEncoder(out)
	for {
		var asked question
		if err := decoder.Decode(&asked); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		said, err := judge(asked)
		if err != nil {
			said = answer{Error: err.Error()}
		}
		if err := encoder.Encode(said); err != nil {
			return err
		}
	}
}

func judge(asked question) (answer, error) {
	// The unstructured decoder keeps integers as int64, as Argo CD's cache does.
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(asked.Object); err != nil {
		return answer{}, err
	}
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		call := lua.P{Fn: l.NewFunction(library.open), NRet: 0, Protect: true}
		if err := l.CallByParam(call, lua.LString(library.name)); err != nil {
			return answer{}, err
		}
	}
	l.PreloadModule(lua.OsLibName, loadSafeOs)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	l.SetContext(ctx)
	l.SetGlobal("obj", decode(l, withoutBulk(u.Object)))
	if err := l.DoString(asked.Script); err != nil {
		return answer{}, err
	}
	return health(l.Get(-1))
}

// loadSafeOs is the part of the library os that Argo CD leaves. A script gets it by require("os"); there is no global.
func loadSafeOs(l *lua.LState) int {
	whole := lua.NewState()
	defer whole.Close()
	functions := map[string]lua.LGFunction{}
	for _, name := range []string{"time", "date"} {
		if function, ok := whole.GetField(whole.GetGlobal(lua.OsLibName), name).(*lua.LFunction); ok {
			functions[name] = function.GFunction
		}
	}
	l.Push(l.SetFuncs(l.NewTable(), functions))
	return 1
}

// withoutBulk leaves out what version 3 does not show to health checks.
func withoutBulk(object map[string]any) map[string]any {
	unstructured.RemoveNestedField(object, "metadata", "managedFields")
	unstructured.RemoveNestedField(object, "metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
	return object
}

func decode(l *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case int64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		list := l.CreateTable(len(value), 0)
		for _, item := range value {
			list.Append(decode(l, item))
		}
		return list
	case map[string]any:
		table := l.CreateTable(0, len(value))
		for key, item := range value {
			table.RawSetH(lua.LString(key), decode(l, item))
		}
		return table
	}
	return lua.LNil
}

// health reads what a script returned. Argo CD encodes it as JSON and decodes that into two strings.
func health(returned lua.LValue) (answer, error) {
	table, ok := returned.(*lua.LTable)
	if !ok {
		return answer{}, fmt.Errorf("expect table output from Lua script, not %s", returned.Type())
	}
	said := answer{}
	for name, into := range map[string]*string{"status": &said.Status, "message": &said.Message} {
		switch value := table.RawGetString(name).(type) {
		case lua.LString:
			*into = string(value)
		case *lua.LNilType:
		default:
			return answer{}, fmt.Errorf("%s is a %s, not a string", name, value.Type())
		}
	}
	if !slices.Contains(known, said.Status) {
		return answer{Status: "Unknown", Message: "Lua returned an invalid health status"}, nil
	}
	return said, nil
}
