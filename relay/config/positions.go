package config

import (
	"fmt"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/spelling"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// places maps the full name of an option or table, such as delivery.timeout or webhook[0], to the place where it was set. The
// empty name maps to the file.
type places map[string]Place

// of returns the place where the option was set or, if it is missing, that of the table it would be in.
func (p places) of(key string) Place {
	for key != "" {
		if place, ok := p[key]; ok {
			return place
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return Place{File: p[""].File}
}

// document holds the keys that are set in a file, and their places.
type document struct {
	places places
	keys   []string // in the order of the file; without elements of arrays
}

func readDocument(root *tomlpos.Node) *document {
	d := &document{places: places{"": {File: root.At.File}}}
	d.table("", root)
	return d
}

// table records the place of every key in a table and in the tables below it.
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

// checkKeys adds a problem for each key that is not an option, and suggests the most similar one.
func (d *document) checkKeys(ps *problems) {
	for _, key := range d.keys {
		if _, ok := find(key); ok || isTable(key) {
			continue
		}
		if parent := key[:max(strings.LastIndex(key, "."), 0)]; parent != "" && !isTable(parent) {
			continue // already reported for its table
		}
		if near := nearest(key); near != "" {
			ps.add(key, "unknown option; did you mean %s?", near)
		} else {
			ps.add(key, "unknown option; remove it")
		}
	}
}

// nearest returns the option or table that an unknown key probably stands for: one with a similar name in the same table, or one
// with the same name in another table; "" if there is none.
func nearest(key string) string {
	key = index.ReplaceAllString(key, "")
	table, name := "", key
	if i := strings.LastIndex(key, "."); i >= 0 {
		table, name = key[:i+1], key[i+1:]
	}
	var siblings []string
	elsewhere := ""
	for _, o := range options() {
		if below, ok := strings.CutPrefix(o.path, table); ok {
			sibling, _, _ := strings.Cut(below, ".")
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
