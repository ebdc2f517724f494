package config

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

// Prefix is the prefix of environment variables. Its double underscore excludes the variables that Kubernetes sets for a
// Service named iam-relay, such as IAM_RELAY_PORT.
const Prefix = "IAM_RELAY__"

// loadEnvironment lets variables override the file. A variable also overrides the option's *_file variant, and the reverse:
// IAM_RELAY__SOURCE__URL takes precedence over url_file in the file.
func loadEnvironment(k *koanf.Koanf, environ []string, ps *problems) error {
	return k.Load(env.Provider(".", env.Opt{
		Prefix:      Prefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, text string) (string, any) {
			path := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, Prefix), "__", "."))
			place := Place{Variable: name}
			o, ok := find(path)
			switch {
			case path == "webhook" || strings.HasPrefix(path, "webhook."):
				ps.list = append(ps.list, Problem{Place: place, Text: "webhooks can only be set in the file; use its *_file options to keep secrets out of it"})
				return "", nil
			case !ok:
				text := "unknown option; unset it"
				if near := nearest(path); near != "" {
					text = "unknown option; did you mean " + Variable(near) + "?"
				}
				ps.list = append(ps.list, Problem{Place: place, Text: text})
				return "", nil
			}
			ps.places[path] = place
			if plain, ok := strings.CutSuffix(path, "_file"); ok {
				k.Delete(plain)
			} else {
				k.Delete(path + "_file")
			}
			value, ok := parse(text, o.typ)
			if !ok {
				ps.add(path, "must be %s", strings.ReplaceAll(wanted(o.typ), " in quotes", ""))
				return "", nil
			}
			return path, value
		},
	}), nil)
}

// Variable returns the environment variable that sets the option: IAM_RELAY__DELIVERY__TIMEOUT for delivery.timeout.
func Variable(option string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(option, ".", "__"))
}

// parse converts the text of a variable to the value that the TOML decoder would return. Lists are separated by commas.
func parse(text string, t reflect.Type) (any, bool) {
	if isText(t) {
		return text, true
	}
	var value any
	var err error
	switch t.Kind() {
	case reflect.Bool:
		value, err = strconv.ParseBool(text)
	case reflect.Int:
		value, err = strconv.ParseInt(text, 10, 64)
	case reflect.Float64:
		value, err = strconv.ParseFloat(text, 64)
	case reflect.Slice:
		list := []any{}
		for element := range strings.SplitSeq(text, ",") {
			if element = strings.TrimSpace(element); element != "" {
				list = append(list, element)
			}
		}
		return list, true
	default:
		return text, true
	}
	return value, err == nil
}
