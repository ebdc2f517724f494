package config

import (
	"encoding"
	"fmt"
	"reflect"
)

// Redacted returns every option by its full name, as delivery.timeout or webhook[0].url, with its value as text. It is fit
// for logs: secrets, connection strings, header values and what follows a URL's host are left out.
func (c *Config) Redacted() map[string]string {
	all := map[string]string{}
	redact(all, reflect.ValueOf(*c), "")
	return all
}

func redact(all map[string]string, v reflect.Value, path string) {
	if text, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		b, err := text.MarshalText()
		if err != nil {
			b = []byte(err.Error())
		}
		all[path] = string(b)
		return
	}
	switch {
	case v.Kind() == reflect.Struct:
		for tag, field := range fieldsOf(v.Type()) {
			redact(all, v.FieldByIndex(field.Index), join(path, tag))
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && !readsText(v.Type().Elem()):
		for i := range v.Len() {
			redact(all, v.Index(i), element(path, i))
		}
	default:
		all[path] = fmt.Sprint(v.Interface())
	}
}
