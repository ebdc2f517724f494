package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	walkStep = regexp.MustCompile("(?m)^\\| `([a-z_/]+\\.go)` \\| (.*?) \\|")
	quoted   = regexp.MustCompile("`([^`]+)`")
)

// folders is the order in which a change travels.
var folders = []string{"cdc", "relay/replication", "relay/ingest", "mapping/engine", "relay/outbox", "relay/delivery", "relay/webhook"}

// Each walk in architecture.md names files and functions that exist. It takes at most ten files, and never returns to a folder that it
// has left; the first one goes through the folders in order.
func TestArchitecture_Walks(t *testing.T) {
	t.Parallel()
	_, section, found := strings.Cut(read(t, "architecture.md"), "\n## Walks\n")
	if !found {
		t.Fatal("architecture.md has no section Walks")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	walks := 0
	for rest := section; ; walks++ {
		_, after, more := strings.Cut(rest, "\n### ")
		if !more {
			break
		}
		body, _, _ := strings.Cut(after, "\n### ")
		name, _, _ := strings.Cut(body, "\n")
		t.Run(name, func(t *testing.T) { checkWalk(t, body, walks == 0) })
		rest = after
	}
	if walks < 5 {
		t.Errorf("architecture.md has %d walks", walks)
	}
}

func checkWalk(t *testing.T, body string, inOrder bool) {
	files, left := map[string]bool{}, []string(nil)
	for _, step := range walkStep.FindAllStringSubmatch(body, -1) {
		file, folder := step[1], filepath.Dir(step[1])
		files[file] = true
		if at := slices.Index(left, folder); at >= 0 && at < len(left)-1 {
			t.Errorf("%s: the walk has left %s before", file, folder)
		} else if at < 0 {
			left = append(left, folder)
		}
		names := declared(t, filepath.Join("..", file))
		for _, name := range quoted.FindAllStringSubmatch(step[2], -1) {
			if !names[name[1]] {
				t.Errorf("%s does not declare %s", file, name[1])
			}
		}
	}
	if len(files) == 0 || len(files) > 10 {
		t.Errorf("the walk takes %d files", len(files))
	}
	if inOrder && !slices.IsSortedFunc(left, func(a, b string) int { return slices.Index(folders, a) - slices.Index(folders, b) }) {
		t.Errorf("the walk goes through %q, not in the order %q", left, folders)
	}
}

// declared returns the functions, methods (as Type.method) and types of a file.
func declared(t *testing.T, file string) map[string]bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, d := range parsed.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				receiver := d.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					receiver = star.X
				}
				if id, ok := receiver.(*ast.Ident); ok {
					name = id.Name + "." + name
				}
			}
			names[name] = true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok {
					names[spec.Name.Name] = true
				}
			}
		}
	}
	return names
}
