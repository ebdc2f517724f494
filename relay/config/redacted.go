package config

import (
	"encoding"
	"fmt"
	"reflect"
)

// Redacted returns the value of every option as text, keyed by its full name, such as delivery.timeout or webhook[0].url. The
// result may be logged: secrets, connection strings, header values and the paths of URLs are redacted.
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
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && !isText(v.Type().Elem()):
		for i := range v.Len() {
			redact(all, v.Index(i), element(path, i))
		}
	default:
		all[path] = fmt.Sprint(v.Interface())
	}
}
