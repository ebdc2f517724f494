package config

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/iam-relay/iam-relay/relay/webhook/spelling"
)

// places maps the full name of a key or table, as delivery.timeout or webhook[0], to where it was set. The empty name
// stands for the file.
type places map[string]Place

// of returns where the key was set, or, for a missing one, the place of the table that it is missing from.
func (p places) of(key string) Place {
	for key != "" {
		if place, ok := p[key]; ok {
			return place
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return Place{File: p[""].File}
}

// document walks the keys of a TOML file that is known to be well-formed. Decoders tell the line of the first mistake
// only, or of none.
type document struct {
	file   string
	parser unstable.Parser
	places places
	// keys are those of the places, in the order of the file.
	keys []string
	// elements counts the elements of each array of tables.
	elements map[string]int
}

func readDocument(file string, data []byte) *document {
	d := &document{file: file, places: places{"": {File: file}}, elements: map[string]int{}}
	d.parser.Reset(data)
	table := ""
	for d.parser.NextExpression() {
		switch node := d.parser.Expression(); node.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = d.path("", node)
		case unstable.KeyValue:
			d.keyValue(table, node)
		}
	}
	return d
}

func (d *document) keyValue(table string, node *unstable.Node) {
	path := d.path(table, node)
	switch value := node.Value(); value.Kind {
	case unstable.InlineTable:
		d.inlineTable(path, value)
	case unstable.Array:
		n := 0
		for it := value.Children(); it.Next(); n++ {
			if it.Node().Kind == unstable.InlineTable {
				d.inlineTable(element(path, n), it.Node())
			}
		}
	}
}

func (d *document) inlineTable(path string, table *unstable.Node) {
	for it := table.Children(); it.Next(); {
		d.keyValue(path, it.Node())
	}
}

// path returns the full name of the node's key below base, and notes the place of each part.
func (d *document) path(base string, node *unstable.Node) string {
	path := base
	for it := node.Key(); it.Next(); {
		part := it.Node()
		path = join(path, string(part.Data))
		if last := it.IsLast(); last && node.Kind == unstable.ArrayTable {
			d.elements[path]++
		}
		if n := d.elements[path]; n > 0 {
			path = element(path, n-1)
		}
		if _, ok := d.places[path]; !ok {
			d.places[path] = Place{File: d.file, Line: d.parser.Shape(part.Raw).Start.Line}
			d.keys = append(d.keys, path)
		}
	}
	return path
}

func element(path string, n int) string { return fmt.Sprintf("%s[%d]", path, n) }

// checkKeys adds a problem for each key that is no option, with the one that was probably meant.
func (d *document) checkKeys(ps *problems) {
	for _, key := range d.keys {
		if _, ok := find(key); ok || isTable(key) {
			continue
		}
		if parent := key[:max(strings.LastIndex(key, "."), 0)]; parent != "" && !isTable(parent) {
			continue // Its table is unknown already.
		}
		if near := nearest(key); near != "" {
			ps.add(key, "there is no such option; did you mean %s?", near)
		} else {
			ps.add(key, "there is no such option")
		}
	}
}

// nearest returns the option or table that is meant by an unknown key: one of its own table with a similar name, or one of
// that very name in another.
func nearest(key string) string {
	key = index.ReplaceAllString(key, "")
	table, name := "", key
	if i := strings.LastIndex(key, "."); i >= 0 {
		table, name = key[:i+1], key[i+1:]
	}
	var siblings []string
	elsewhere := ""
	for _, o := range options() {
		if rest, ok := strings.CutPrefix(o.path, table); ok {
			sibling, _, _ := strings.Cut(rest, ".")
			siblings = append(siblings, sibling)
		}
		if strings.HasSuffix(o.path, "."+name) && elsewhere == "" {
			elsewhere = o.path
		}
	}
	if near := spelling.Nearest(strings.ToLower(name), siblings); near != "" {
		return table + near
	}
	return elsewhere
}
