package config

import (
	"fmt"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/spelling"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
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

// document holds the keys that a file sets.
type document struct {
	places places
	keys   []string // the keys of places except elements of an array; a table comes before what it contains
}

func readDocument(root *tomlpos.Node) *document {
	d := &document{places: places{"": {File: root.At.File}}}
	d.table("", root)
	return d
}

// table notes the position of every key of a table and of the tables in it.
func (d *document) table(path string, table *tomlpos.Node) {
	for _, e := range table.Entries {
		key := join(path, e.Key)
		d.places[key] = placeOf(e.At)
		d.keys = append(d.keys, key)
		switch e.Value.Kind {
		case tomlpos.Table:
			d.table(key, e.Value)
		case tomlpos.List:
			for i, item := range e.Value.Items {
				if item.Kind == tomlpos.Table {
					d.places[element(key, i)] = placeOf(item.At)
					d.table(element(key, i), item)
				}
			}
		}
	}
}

func placeOf(at tomlpos.Position) Place { return Place{File: at.File, Line: at.Line} }

// element is the full name of one table of an array of tables.
func element(key string, n int) string { return fmt.Sprintf("%s[%d]", key, n) }

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
