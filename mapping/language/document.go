package language

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/iam-relay/iam-relay/mapping/presets"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/spelling"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// Options select the mapping to load.
type Options struct {
	// Preset is the name of a built-in mapping. It may be empty if File is given.
	Preset string
	// File is the path of a mapping of the user. With a Preset, or with extends in the file, it is merged over the preset: a
	// key of a table replaces the preset's key (parents, format, include, collect, children and events are merged by name), and an event
	// replaces the one of its name in that table.
	File string
	// Schema overrides the schema of the mapped tables that are named without one.
	Schema string
	// ResourceID is "row" (or empty) or "tenant". With "tenant", every event's resource_id is the tenant's key, except in
	// events with keep_resource_id.
	ResourceID string
	// Drop lists names of events to leave out.
	Drop []string
}

// readDocument reads the preset and the file and merges them.
func readDocument(o Options) (*tomlpos.Node, error) {
	var own *tomlpos.Node
	if o.File != "" {
		source, err := os.ReadFile(o.File)
		if err != nil {
			if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
				err = pathErr.Err
			}
			return nil, &rules.Error{Problems: []rules.Problem{{File: o.File, Text: "cannot be read: " + err.Error()}}}
		}
		if own, err = parse(o.File, source); err != nil {
			return nil, err
		}
	}
	preset, at, err := chosenPreset(o, own)
	if err != nil || preset == "" {
		return own, err
	}
	source, err := presets.Source(preset)
	if err != nil {
		var p rules.Problems
		if at.File == "" {
			p.AddOption("preset", "%v", err)
		} else {
			p.Add(at, "%v", err)
		}
		return nil, p.Err()
	}
	base, err := parse(preset+".toml", source)
	if err != nil || own == nil {
		return base, err
	}
	mergeDocument(base, own)
	return base, nil
}

// chosenPreset returns the preset and where the file names it, which is the zero position if the options do. The preset is empty if
// the file stands alone.
func chosenPreset(o Options, own *tomlpos.Node) (preset string, at rules.Position, err error) {
	var p rules.Problems
	preset = o.Preset
	if own != nil {
		extends := decoder{&p}.word(own, "extends")
		switch {
		case extends.given() && preset != "" && preset != extends.text:
			p.Add(extends.at, "extends = %q, but mapping.preset is %q; remove one of them", extends.text, preset)
		case extends.given():
			preset, at = extends.text, extends.at
		}
	}
	if preset == "" && own == nil {
		p.AddOption("preset", "is empty, and so is mapping.file; set one of them%s", spelling.Suggest("", presets.Names()))
	}
	return preset, at, p.Err()
}

// mergedByName lists the keys of a table whose entries are merged one by one.
var mergedByName = []string{"parents", "format", "include", "collect", "children", "events"}

func mergeDocument(base, own *tomlpos.Node) {
	for _, e := range own.Entries {
		under := base.Get(e.Key)
		switch {
		case under == nil || under.Kind != e.Value.Kind || e.Value.Kind == tomlpos.Scalar:
			base.Set(e.Key, e.At, e.Value)
		case e.Key == "tables":
			for _, t := range e.Value.Entries {
				mergeTable(under, t)
			}
		default:
			base.Set(e.Key, e.At, e.Value)
		}
	}
}

func mergeTable(tables *tomlpos.Node, own tomlpos.Entry) {
	under := tables.Get(own.Key)
	if under == nil || own.Value.Kind != tomlpos.Table {
		tables.Set(own.Key, own.At, own.Value)
		return
	}
	for _, e := range own.Value.Entries {
		merged := under.Get(e.Key)
		if merged == nil || e.Value.Kind != tomlpos.Table || !slices.Contains(mergedByName, e.Key) {
			under.Set(e.Key, e.At, e.Value)
			continue
		}
		for _, one := range e.Value.Entries {
			merged.Set(one.Key, one.At, one.Value)
		}
	}
}

// parse reads a TOML document. An error is an *Error.
func parse(file string, source []byte) (*tomlpos.Node, error) {
	root, _, err := tomlpos.Parse(file, source)
	if syntax, ok := errors.AsType[*tomlpos.SyntaxError](err); ok {
		var p rules.Problems
		p.Add(syntax.At, "%s", syntax.Text())
		return nil, p.Err()
	}
	return root, err
}
