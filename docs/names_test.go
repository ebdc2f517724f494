package docs_test

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

var (
	metricInCode  = regexp.MustCompile(`(?:describe|counter|seconds)\("([a-z_]+)"|Namespace: namespace, Name: "([a-z_]+)"`)
	metricInPages = regexp.MustCompile(`\biam_relay_([a-z_]+)`)
	suffix        = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// operations.md lists every metric, and no page names one that does not exist.
func TestMetrics(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../relay/admin/*.go")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, match := range metricInCode.FindAllStringSubmatch(read(t, file), -1) {
			exists[match[1]+match[2]] = true
		}
	}
	if len(exists) < 20 {
		t.Fatalf("found only %d metrics in the code", len(exists))
	}
	operations := map[string]bool{}
	for file, text := range pages(t) {
		for _, match := range metricInPages.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			name := suffix.ReplaceAllString(match[1], "")
			if !exists[name] {
				t.Errorf("%s: there is no metric iam_relay_%s", file, name)
			}
			if file == "operations.md" {
				operations[name] = true
			}
		}
	}
	for name := range exists {
		if !operations[name] {
			t.Errorf("operations.md lacks iam_relay_%s", name)
		}
	}
}

// Every message that troubleshooting.md quotes, between placeholders, is part of a text in the code.
func TestTroubleshooting_QuotesMessages(t *testing.T) {
	t.Parallel()
	literals := literals(t)
	messages := 0
	for line := range strings.Lines(read(t, "troubleshooting.md")) {
		row, isRow := strings.CutPrefix(line, "| `")
		if !isRow {
			continue
		}
		message, _, _ := strings.Cut(row, "` |")
		messages++
		for part := range strings.SplitSeq(message, "…") {
			part = strings.TrimSpace(part)
			if !slices.ContainsFunc(literals, func(text string) bool { return strings.Contains(text, part) }) {
				t.Errorf("no text in the code contains %q", part)
			}
		}
	}
	if messages < 20 {
		t.Errorf("troubleshooting.md quotes %d messages", messages)
	}
}

// literals are the texts in the code, without tests.
func literals(t *testing.T) []string {
	t.Helper()
	var texts []string
	for _, root := range []string{"../cdc", "../mapping", "../relay"} {
		if err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			var s scanner.Scanner
			s.Init(token.NewFileSet().AddFile(path, -1, len(source)), source, nil, 0)
			for {
				_, tok, text := s.Scan()
				if tok == token.EOF {
					return nil
				}
				if tok != token.STRING {
					continue
				}
				if text, err = strconv.Unquote(text); err != nil {
					return err
				}
				texts = append(texts, text)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	return texts
}

var (
	table    = regexp.MustCompile(`(?m)^CREATE (?:UNLOGGED )?TABLE ([a-z_]+) \(`)
	firstRow = regexp.MustCompile("(?m)^\\| ((?:`[^`]+`(?:, )?)+) \\|")
)

// listed returns the words in code in the first column of the page's tables.
func listed(t *testing.T, page string) map[string]bool {
	t.Helper()
	words := map[string]bool{}
	for _, row := range firstRow.FindAllStringSubmatch(read(t, page), -1) {
		for word := range strings.SplitSeq(row[1], ", ") {
			words[strings.Trim(word, "`")] = true
		}
	}
	return words
}

// The pages list every table, outcome, operational event and state.
func TestLists(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../relay/outbox/migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal("no migrations", err)
	}
	var tables []string
	for _, file := range files {
		for _, match := range table.FindAllStringSubmatch(read(t, file), -1) {
			tables = append(tables, match[1])
		}
	}
	var classes, states, deliveries []string
	for _, class := range webhook.Classes() {
		classes = append(classes, string(class))
	}
	for _, state := range []admin.State{
		admin.Starting, admin.Idle, admin.Streaming, admin.CatchingUp, admin.Stuck, admin.Disconnected, admin.Standby, admin.Lost,
	} {
		states = append(states, string(state))
	}
	for _, state := range outbox.DeliveryStates() {
		deliveries = append(deliveries, string(state))
	}
	for page, names := range map[string][]string{
		"architecture.md": tables,
		"delivery.md":     append(classes, delivery.OperationalEvents()...),
		"operations.md":   append(states, deliveries...),
	} {
		listed := listed(t, page)
		for _, name := range names {
			if !listed[name] {
				t.Errorf("%s does not list %s", page, name)
			}
		}
	}
}
