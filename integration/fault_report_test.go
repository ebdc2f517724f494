package integration_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// reliability is the document with the table of faults.
const reliability = "../docs/reliability.md"

// The table stands between two comments of the document.
const (
	tableBegins = "<!-- table: make reliability -->\n"
	tableEnds   = "<!-- end of table -->\n"
	tableHead   = "| fault | injected | committed | lost | duplicated | out of order | reconciled | test |\n|---|--:|--:|--:|--:|--:|--:|---|\n"
)

// rows are those of this run, by test.
var rows = struct {
	sync.Mutex
	of map[string]string
}{of: map[string]string{}}

// record writes the trial's row, or checks that the table has one. What must be none is none.
func (tr *trial) record(n tally) {
	tr.t.Helper()
	if n.lost+n.surplus+n.disordered > 0 {
		tr.t.Errorf("%s: %d events lost, %d that should not be, %d out of order", tr.fault, n.lost, n.surplus, n.disordered)
	}
	if tr.injected == 0 {
		tr.t.Errorf("%s was never injected", tr.fault)
	}
	test := strings.TrimPrefix(tr.t.Name(), "TestFault_")
	row := fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | `%s` |\n",
		tr.fault, tr.injected, n.committed, n.lost, n.duplicated, n.disordered, n.reconciled, test)
	tr.t.Log(strings.TrimSpace(row))
	if os.Getenv(reportVariable) != "" {
		rows.Lock()
		defer rows.Unlock()
		rows.of[test] = row
		return
	}
	table, err := readTable(reliability)
	if err != nil {
		tr.t.Fatal(err)
	}
	if !strings.HasPrefix(table.of[test], "| "+tr.fault+" |") {
		tr.t.Errorf("docs/reliability.md has no row %q of %s: run make reliability", tr.fault, test)
	}
}

// table is the document, cut at its table.
type table struct {
	before, after string
	of            map[string]string // the rows, by test
}

var rowTest = regexp.MustCompile("`([^`]+)` \\|\n$")

func readTable(path string) (*table, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	before, rest, begins := strings.Cut(string(text), tableBegins)
	body, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		return nil, fmt.Errorf("%s has no table between %q and %q", path, tableBegins, tableEnds)
	}
	t := &table{before: before, after: after, of: map[string]string{}}
	for line := range strings.Lines(strings.TrimPrefix(body, tableHead)) {
		test := rowTest.FindStringSubmatch(line)
		if test == nil {
			return nil, fmt.Errorf("%s: this row of the table names no test: %s", path, line)
		}
		t.of[test[1]] = line
	}
	return t, nil
}

// writeReport puts this run's rows into the table, in the order of the tests. Rows of tests that did not run stay, those of
// tests that are gone go.
func writeReport(path string) error {
	t, err := readTable(path)
	if err != nil {
		return err
	}
	maps.Copy(t.of, rows.of)
	tests, err := faultTests()
	if err != nil {
		return err
	}
	var body strings.Builder
	for _, test := range tests {
		var of []string
		for name, row := range t.of {
			if name == test || strings.HasPrefix(name, test+"/") {
				of = append(of, row)
			}
		}
		slices.Sort(of)
		body.WriteString(strings.Join(of, ""))
	}
	return os.WriteFile(path, []byte(t.before+tableBegins+tableHead+body.String()+tableEnds+t.after), 0o644)
}

var faultTest = regexp.MustCompile(`(?m)^func TestFault_(\w+)\(`)

// faultTests are the names of all tests of faults, in the order of the sources.
func faultTests() ([]string, error) {
	files, err := filepath.Glob("fault_*_test.go")
	if err != nil {
		return nil, err
	}
	var tests []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, match := range faultTest.FindAllSubmatch(source, -1) {
			tests = append(tests, string(match[1]))
		}
	}
	return tests, nil
}

// The table has a row of each test of a fault, and in each row nothing is lost.
func TestReliability_TableIsWhole(t *testing.T) {
	t.Parallel()
	table, err := readTable(reliability)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := faultTests()
	if err != nil {
		t.Fatal(err)
	}
	if len(tests) < 10 {
		t.Errorf("only the tests %q were found", tests)
	}
	rowOf := map[string]bool{}
	for name, row := range table.of {
		top, _, _ := strings.Cut(name, "/")
		rowOf[top] = true
		if !slices.Contains(tests, top) {
			t.Errorf("docs/reliability.md has a row of %s, and there is no such test: run make reliability", name)
		}
		if cells := strings.Split(row, "|"); len(cells) != 10 || strings.TrimSpace(cells[4]) != "0" || strings.TrimSpace(cells[6]) != "0" {
			t.Errorf("docs/reliability.md: something was lost or came out of order: %s", row)
		}
	}
	for _, test := range tests {
		if !rowOf[test] {
			t.Errorf("docs/reliability.md has no row of TestFault_%s: run make reliability", test)
		}
	}
}
