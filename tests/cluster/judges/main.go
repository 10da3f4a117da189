// What real tools make of objects: kstatus, the library behind Flux and `helm --wait`, and Argo CD's interpreter of Lua.
//
// Its argument is the script for Argo CD. Objects come on standard input, one in a line, as JSON; for each it prints a
// line of JSON with both answers.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type answer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type answers struct {
	Kstatus answer `json:"kstatus"`
	ArgoCD  answer `json:"argocd"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: judges <health.lua> < objects.jsonl")
	}
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		return fmt.Errorf("read the script: %w", err)
	}
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	lines.Buffer(nil, 16<<20)
	for number := 1; lines.Scan(); number++ {
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		computed, err := status.Compute(&object)
		if err != nil {
			return fmt.Errorf("line %d: kstatus: %w", number, err)
		}
		health, err := argoCD(string(script), object.Object)
		if err != nil {
			return fmt.Errorf("line %d: Lua: %w", number, err)
		}
		judged := answers{Kstatus: answer{string(computed.Status), computed.Message}, ArgoCD: health}
		if err := out.Encode(judged); err != nil {
			return err
		}
	}
	return lines.Err()
}

// Argo CD loads these libraries and no others, and calls scripts with the object as `obj`.
func argoCD(script string, object map[string]any) (answer, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return answer{}, err
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return answer{}, err
	}
	health, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return answer{}, fmt.Errorf("it returns no table but %s", state.Get(-1).Type())
	}
	return answer{lua.LVAsString(health.RawGetString("status")), lua.LVAsString(health.RawGetString("message"))}, nil
}

// JSON in Lua's words, as Argo CD translates it.
func value(state *lua.LState, json any) lua.LValue {
	switch it := json.(type) {
	case bool:
		return lua.LBool(it)
	case int64:
		return lua.LNumber(it)
	case float64:
		return lua.LNumber(it)
	case string:
		return lua.LString(it)
	case []any:
		table := state.CreateTable(len(it), 0)
		for _, item := range it {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(it))
		for name, item := range it {
			table.RawSetString(name, value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}
