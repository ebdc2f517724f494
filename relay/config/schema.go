package config

import (
	"encoding"
	"iter"
	"reflect"
	"regexp"
	"strings"
	"sync"
)

// option is one option of the configuration, as derived from the structs.
type option struct {
	// path is the full name, without the index of a webhook: webhook.url.
	path string
	typ  reflect.Type
}

// options returns all options, in the order of the structs.
var options = sync.OnceValue(func() []option { return optionsOf(reflect.TypeFor[Config](), "") })

func optionsOf(t reflect.Type, prefix string) []option {
	var all []option
	for tag, field := range fieldsOf(t) {
		path, elem := join(prefix, tag), field.Type
		if elem.Kind() == reflect.Slice {
			elem = elem.Elem()
		}
		if elem.Kind() == reflect.Struct && !isText(elem) {
			all = append(all, optionsOf(elem, path)...)
		} else {
			all = append(all, option{path, field.Type})
		}
	}
	return all
}

// fieldsOf yields the fields that are options, with their TOML names.
func fieldsOf(t reflect.Type) iter.Seq2[string, reflect.StructField] {
	return func(yield func(string, reflect.StructField) bool) {
		for field := range t.Fields() {
			if tag := field.Tag.Get("toml"); tag != "" && tag != "-" && !yield(tag, field) {
				return
			}
		}
	}
}

// isText reports whether values of the type are written as text, such as durations.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

var index = regexp.MustCompile(`\[\d+\]`)

// find returns the option with that path; an index, as in webhook[0].url, is ignored. A key inside a table with user-defined
// keys, such as webhook.headers, belongs to that option.
func find(path string) (option, bool) {
	path = index.ReplaceAllString(path, "")
	for _, o := range options() {
		if o.path == path || o.typ.Kind() == reflect.Map && strings.HasPrefix(path, o.path+".") {
			return o, true
		}
	}
	return option{}, false
}

// isTable reports whether the path is that of a table which contains options.
func isTable(path string) bool {
	path = index.ReplaceAllString(path, "") + "."
	for _, o := range options() {
		if strings.HasPrefix(o.path, path) {
			return true
		}
	}
	return false
}
