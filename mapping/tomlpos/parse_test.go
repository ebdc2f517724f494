package tomlpos

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const document = `
title = "x"
a.b = 1_000

[table]
list = [
  "one",  # a comment
  { key = true },
]
[table.below]
when = 2026-08-20

[[many]]
n = 0x10
[many.below]
x = 1
[[many]]
n = 1.5
`

// paths lists "line path value" for every key and scalar below a node.
func paths(n *Node, path string) []string {
	var out []string
	switch n.Kind {
	case Scalar:
		out = append(out, fmt.Sprintf("%d %s = %v", n.At.Line, path, n.Scalar))
	case Table:
		for _, e := range n.Entries {
			out = append(out, fmt.Sprintf("%d %s.%s", e.At.Line, path, e.Key))
			out = append(out, paths(e.Value, path+"."+e.Key)...)
		}
	case List:
		for i, item := range n.Items {
			out = append(out, paths(item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return out
}

func TestParse_Positions(t *testing.T) {
	t.Parallel()
	root, values, err := Parse("my.toml", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"2 .title", "2 .title = x", "3 .a", "3 .a.b", "3 .a.b = 1000",
		"5 .table", "6 .table.list", "7 .table.list[0] = one", "8 .table.list[1].key", "8 .table.list[1].key = true",
		"10 .table.below", "11 .table.below.when", "11 .table.below.when = 2026-08-20",
		"13 .many", "14 .many[0].n", "14 .many[0].n = 16", "15 .many[0].below", "16 .many[0].below.x", "16 .many[0].below.x = 1",
		"18 .many[1].n", "18 .many[1].n = 1.5",
	}
	if diff := cmp.Diff(want, paths(root, "")); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	if values["title"] != "x" {
		t.Errorf("decoded %v, want the title", values)
	}
}

func TestParse_SyntaxError(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"a = 1\nb = \"x\ny\"":       "my.toml:2: not valid TOML: basic strings cannot have new lines",
		"a = 1\na = 2":              "my.toml:2: not valid TOML: key a is already defined",
		"[[a]]\n[a]":                "my.toml:2: not valid TOML: table a already exists as an array of tables",
		"a = 99999999999999999999 ": "",
	} {
		_, _, err := Parse("my.toml", []byte(source))
		if syntax, ok := errors.AsType[*SyntaxError](err); !ok || (want != "" && syntax.Error() != want) {
			t.Errorf("%q: %v, want %q", source, err, want)
		}
	}
}

func TestNode_SetReplaces(t *testing.T) {
	t.Parallel()
	n := &Node{Kind: Table}
	n.Set("a", Position{Line: 1}, &Node{Scalar: "old"})
	n.Set("a", Position{Line: 2}, &Node{Scalar: "new"})
	if len(n.Entries) != 1 || n.Entries[0].At.Line != 2 || n.Get("a").Scalar != "new" || n.Get("b") != nil || (*Node)(nil).Get("a") != nil {
		t.Errorf("entries %+v", n.Entries)
	}
}
