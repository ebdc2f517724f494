package config

import (
	"errors"
	"io/fs"
	"os"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"

	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// Load reads the file at path, applies the variables in environ, which has the form of os.Environ, reads the *_file options, and
// validates the result. An empty path is no file. Every error is an *Error.
func Load(path string, environ []string) (*Config, error) {
	ps := &problems{places: places{"": {File: path}}}
	tree := map[string]any{}
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			remedy := "check the path and its permissions"
			if errors.Is(err, fs.ErrNotExist) {
				remedy = "run iam-relay init to create it"
			}
			ps.add("", "%s; %s", readReason(err), remedy)
			return nil, ps.err()
		}
		root, values, err := tomlpos.Parse(path, data)
		if err != nil {
			addSyntax(ps, err)
			return nil, ps.err()
		}
		tree = values
		d := readDocument(root)
		ps.places = d.places
		d.checkKeys(ps)
	}

	k := koanf.New(".")
	if err := k.Load(confmap.Provider(tree, ""), nil); err != nil {
		ps.add("", "%s", err)
		return nil, ps.err()
	}
	if err := loadEnvironment(k, environ, ps); err != nil {
		ps.add("", "%s", err)
		return nil, ps.err()
	}
	c := Default()
	if list, ok := k.Get("webhook").([]any); ok {
		for range list {
			c.Webhooks = append(c.Webhooks, defaultWebhook())
		}
	}
	if err := k.UnmarshalWithConf("", c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		TagName:    "toml",
		DecodeHook: mapstructure.DecodeHookFuncValue(decode),
	}}); err != nil {
		addDecoding(ps, err)
	}
	c.places = ps.places
	c.readFiles(ps)
	c.validate(ps)
	if err := ps.err(); err != nil {
		return nil, err
	}
	return c, nil
}

func addSyntax(ps *problems, err error) {
	if syntax, ok := errors.AsType[*tomlpos.SyntaxError](err); ok {
		ps.list = append(ps.list, Problem{Place: placeOf(syntax.At), Text: syntax.Text()})
	}
}

// addDecoding adds a problem for each value of the wrong type.
func addDecoding(ps *problems, err error) {
	switch e := err.(type) { //nolint:errorlint // walks the tree of joined errors
	case *mapstructure.DecodeError:
		ps.add(e.Name(), "%s", e.Unwrap().Error())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			addDecoding(ps, err)
		}
	case interface{ Unwrap() error }:
		addDecoding(ps, e.Unwrap())
	default:
		ps.add("", "%s", err.Error())
	}
}

// readReason returns why a file cannot be read, without its path.
func readReason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return "cannot be read: " + pathErr.Err.Error()
	}
	return "cannot be read: " + err.Error()
}
