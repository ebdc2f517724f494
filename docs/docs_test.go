// Package docs_test keeps the documentation true: options, metrics, messages and names in the source are compared with the code.
package docs_test

import (
	"encoding"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/relay/config"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// optionRow is a row of a table of configuration.md: an option, its default and its meaning.
var optionRow = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| (.+?) \\|")

// configuration.md lists every option with its default, in the order of the struct or another one.
func TestConfiguration_ListsEveryOption(t *testing.T) {
	t.Parallel()
	documented := map[string]string{}
	for _, row := range optionRow.FindAllStringSubmatch(read(t, "configuration.md"), -1) {
		documented[row[1]] = strings.Trim(row[2], "`")
	}
	defaults := config.Default()
	defaults.Webhooks = []config.Webhook{{Events: []string{"*"}, Tenant: "*", Enabled: true, Ordering: "none"}}
	want := map[string]string{}
	addOptions(want, "", reflect.ValueOf(*defaults))
	for _, name := range []string{"source.url", "webhook.name", "webhook.url", "webhook.secret"} {
		want[name] = "required"
	}
	want["webhook.schedule"] = "that of `delivery"
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("docs/configuration.md (-code +page):\n%s", diff)
	}
}

// addOptions adds the options of a struct and their defaults, as TOML has them.
func addOptions(to map[string]string, prefix string, v reflect.Value) {
	for i := range v.NumField() {
		tag, value := v.Type().Field(i).Tag.Get("toml"), v.Field(i)
		if tag == "" || tag == "-" {
			continue
		}
		name := strings.TrimPrefix(prefix+"."+tag, ".")
		if value.Kind() == reflect.Slice && value.Len() == 1 && value.Index(0).Kind() == reflect.Struct && tag == "webhook" {
			value = value.Index(0)
		}
		if _, isText := reflect.TypeAssert[encoding.TextMarshaler](value); value.Kind() == reflect.Struct && !isText {
			addOptions(to, name, value)
			continue
		}
		to[name] = inTOML(value)
	}
}

// inTOML writes a value as TOML does: numbers and lists as in JSON, but for a fraction that is whole and for empty ones.
func inTOML(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Slice:
		if v.Len() == 0 {
			return "[]"
		}
	case reflect.Map:
		return "{}"
	case reflect.Float64:
		if v.Float() == 0 {
			return "0.0"
		}
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(text), ",", ", ")
}

// pages are the README and all pages of docs, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, file := range append(files, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md") {
		all[file] = read(t, file)
	}
	return all
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	notSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Every relative link leads to a file and, where it names one, to a heading of it.
func TestLinks(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for file, text := range all {
		for _, match := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(match[1], "://") {
				continue
			}
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %s leads nowhere", file, match[1])
				continue
			}
			if anchor != "" && !hasHeading(read(t, path), anchor) {
				t.Errorf("%s: %s has no heading #%s", file, path, anchor)
			}
		}
	}
}

// hasHeading reports whether one of the page's headings has that anchor on GitHub.
func hasHeading(page, anchor string) bool {
	seen := map[string]int{}
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		slug := strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-")
		if n := seen[slug]; n > 0 {
			seen[slug]++
			slug = fmt.Sprintf("%s-%d", slug, n)
		}
		seen[slug]++
		if slug == anchor {
			return true
		}
	}
	return false
}
