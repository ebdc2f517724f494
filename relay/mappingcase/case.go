// Package mappingcase tries a mapping out: it runs the SQL of a case in a separate database, reads the WAL as the relay does, and
// returns the events. It needs no outbox.
package mappingcase

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Case is a file of SQL with the events that each of its transactions must make, as comments:
//
//	-- mapping: mapping.toml
//	-- include: schema.sql
//	INSERT INTO organizations VALUES (1, 'acme');
//
//	-- transaction: a user joins
//	INSERT INTO members VALUES (7, 1, 'mia');
//	-- event tenant=1: {"event":"member.created","timestamp":"COMMIT","resource_id":"7","data":{"id":7,"name":"mia"}}
//
// What precedes the first transaction exists before the relay reads. Each transaction is committed on its own. "COMMIT" stands for
// the time of the commit. Paths are relative to the file.
type Case struct {
	Path         string
	Mapping      string // a file, or preset:NAME; empty if the case names none
	Transactions []Transaction

	setup  string   // SQL, with the included files
	header []string // the lines before the first transaction
}

// Transaction is a committed transaction of a case.
type Transaction struct {
	Title string
	SQL   string
	// Want are the expected lines, without "-- ".
	Want []string
}

const (
	mappingMark     = "-- mapping:"
	includeMark     = "-- include:"
	transactionMark = "-- transaction:"
	eventMark       = "-- event"
	canceledMark    = "-- canceled"
)

// Read reads a case.
func Read(path string) (*Case, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the case: %w", err)
	}
	c := &Case{Path: path}
	var setup strings.Builder
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if title, ok := strings.CutPrefix(line, transactionMark); ok {
			c.Transactions = append(c.Transactions, Transaction{Title: strings.TrimSpace(title)})
			continue
		}
		if len(c.Transactions) > 0 {
			c.Transactions[len(c.Transactions)-1].add(line)
			continue
		}
		c.header = append(c.header, line)
		if err := c.addHeader(&setup, line); err != nil {
			return nil, err
		}
	}
	if len(c.Transactions) == 0 {
		return nil, fmt.Errorf("%s has no transaction; begin each with a line such as: %s a user is created", path, transactionMark)
	}
	c.setup = setup.String()
	return c, nil
}

func (c *Case) addHeader(setup *strings.Builder, line string) error {
	if name, ok := strings.CutPrefix(line, mappingMark); ok {
		c.Mapping = strings.TrimSpace(name)
		if !strings.HasPrefix(c.Mapping, "preset:") {
			c.Mapping = c.beside(c.Mapping)
		}
		return nil
	}
	if name, ok := strings.CutPrefix(line, includeMark); ok {
		included, err := os.ReadFile(c.beside(strings.TrimSpace(name)))
		if err != nil {
			return fmt.Errorf("%s: include: %w", c.Path, err)
		}
		line = string(included)
	}
	setup.WriteString(line + "\n")
	return nil
}

func (c *Case) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.Path), name)
}

func (t *Transaction) add(line string) {
	if strings.HasPrefix(line, eventMark) || strings.HasPrefix(line, canceledMark) {
		t.Want = append(t.Want, strings.TrimPrefix(line, "-- "))
	} else {
		t.SQL += line + "\n"
	}
}

// Update writes the file again, with what came instead of what was expected.
func (c *Case) Update(got [][]string) error {
	if len(got) != len(c.Transactions) {
		return errors.New("the number of transactions differs")
	}
	var text strings.Builder
	header := strings.TrimRight(strings.Join(c.header, "\n"), "\n")
	if header != "" {
		text.WriteString(header + "\n\n")
	}
	for i, t := range c.Transactions {
		if i > 0 {
			text.WriteByte('\n')
		}
		fmt.Fprintf(&text, "%s %s\n%s\n", transactionMark, t.Title, strings.TrimSpace(t.SQL))
		for _, line := range got[i] {
			text.WriteString("-- " + line + "\n")
		}
	}
	if err := os.WriteFile(c.Path, []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("update the case: %w", err)
	}
	return nil
}

// IsCase reports whether a file contains a transaction of a case.
func IsCase(path string) bool {
	text, err := os.ReadFile(path)
	return err == nil && strings.Contains("\n"+string(text), "\n"+transactionMark)
}

// Diff returns how the lines of each transaction differ from the expected ones; nil if they do not. A missing line begins with -,
// an unexpected one with +.
func (c *Case) Diff(got [][]string) []string {
	var diff []string
	for i, t := range c.Transactions {
		if slices.Equal(t.Want, got[i]) {
			continue
		}
		diff = append(diff, transactionMark+" "+t.Title)
		unexpected := slices.Clone(got[i])
		for _, line := range t.Want {
			if at := slices.Index(unexpected, line); at >= 0 {
				unexpected = slices.Delete(unexpected, at, at+1)
				diff = append(diff, "  "+line)
			} else {
				diff = append(diff, "- "+line)
			}
		}
		for _, line := range unexpected {
			diff = append(diff, "+ "+line)
		}
	}
	return diff
}
