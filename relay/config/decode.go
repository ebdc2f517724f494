package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
)

// decode is called for every value on its way from TOML into the struct. It alone decides what fits: left to themselves the
// decoders cut 5.9 down to 5, and take 5 for five nanoseconds.
func decode(from, to reflect.Value) (any, error) {
	t := to.Type()
	if !fits(from.Kind(), t) {
		return nil, fmt.Errorf("must be %s, not %s", wanted(t), found(from))
	}
	if !readsText(t) {
		return from.Interface(), nil
	}
	value := reflect.New(t)
	if err := value.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(from.String())); err != nil {
		if t == reflect.TypeFor[netip.Prefix]() {
			return nil, fmt.Errorf(`%q is not a network; write one as in "10.0.0.0/8" or "192.0.2.7/32"`, from)
		}
		return nil, err
	}
	return value.Elem().Interface(), nil
}

func fits(from reflect.Kind, to reflect.Type) bool {
	if readsText(to) {
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

func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Duration]():
		return `a duration in quotes with its unit, as in "5s"`
	case reflect.TypeFor[Size]():
		return `a size in quotes with its unit, as in "4MiB"`
	case reflect.TypeFor[[]Webhook]():
		return "a list of tables: write [[webhook]] in double brackets"
	}
	if readsText(t) {
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

// found never repeats a number or a text: it may be a secret.
func found(v reflect.Value) string {
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
