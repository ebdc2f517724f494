package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
)

// decode converts each TOML value to the type of its option, and is strict: the decoders alone would truncate 5.9 to 5 and
// read 5 as five nanoseconds.
func decode(from, to reflect.Value) (any, error) {
	t := to.Type()
	if !fits(from.Kind(), t) {
		return nil, fmt.Errorf("must be %s, not %s", wanted(t), describe(from))
	}
	if !isText(t) {
		return from.Interface(), nil
	}
	value := reflect.New(t)
	if err := value.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(from.String())); err != nil {
		if t == reflect.TypeFor[netip.Prefix]() {
			return nil, fmt.Errorf(`%q is not a network; write it with its prefix length, such as "10.0.0.0/8" or "192.0.2.7/32"`, from)
		}
		return nil, err
	}
	return value.Elem().Interface(), nil
}

// fits reports whether a TOML value of that kind can be stored in an option of type to.
func fits(from reflect.Kind, to reflect.Type) bool {
	if isText(to) {
		return from == reflect.String
	}
	switch to.Kind() {
	case reflect.Int:
		return from == reflect.Int64
	case reflect.Float64:
		return from == reflect.Float64 || from == reflect.Int64
	case reflect.Struct:
		return from == reflect.Map
	default:
		return from == to.Kind()
	}
}

// wanted describes the values that an option of type t accepts.
func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Duration]():
		return `a duration with its unit in quotes, such as "5s"`
	case reflect.TypeFor[Size]():
		return `a size with its unit in quotes, such as "4MiB"`
	case reflect.TypeFor[[]Webhook]():
		return "a list of tables, written [[webhook]] in double brackets"
	}
	if isText(t) {
		return "text in quotes"
	}
	switch t.Kind() {
	case reflect.String:
		return "text in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list in brackets"
	}
	return "a table"
}

// describe names the kind of a value without repeating it: it may be a secret.
func describe(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return fmt.Sprint(v.Bool())
	case reflect.Int64:
		return "a number"
	case reflect.Float64:
		return "a decimal fraction"
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "a table"
	}
	return "a date or time"
}
