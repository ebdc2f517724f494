package mapping

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// Options say which mapping to load.
type Options struct {
	// Preset is the name of a built-in mapping. May be empty if File is given.
	Preset string
	// File is the path of the user's own mapping. With a Preset, or with `extends` in the file, it is laid over that: a key
	// of a table replaces the preset's key (parents, format, include and collect are merged by name), an event replaces
	// the event of its name.
	File string
	// Schema overrides the schema of the mapped tables.
	Schema string
	// ResourceID is "row" (or empty), or "tenant": every event's resource_id is then the tenant's key, except where the event
	// says keep_resource_id.
	ResourceID string
	// Drop are names of events that are not wanted.
	Drop []string
}

const optionsFile = "mapping" // where a problem is with the Options themselves

// readLayers reads the preset and the file and lays them over each other.
func readLayers(o Options) (*tomlpos.Node, error) {
	var own *tomlpos.Node
	if o.File != "" {
		source, err := os.ReadFile(o.File)
		if err != nil {
			if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
				err = pathErr.Err
			}
			return nil, &Error{[]Problem{{File: o.File, Text: "cannot be read: " + err.Error()}}}
		}
		if own, err = parse(o.File, source); err != nil {
			return nil, err
		}
	}
	var p problems
	d := decoder{&p}
	preset, at := o.Preset, position{File: optionsFile}
	if own != nil {
		extends := d.word(own, "extends")
		switch {
		case extends.given() && preset != "" && preset != extends.text:
			p.add(extends.at, "extends %q, but the preset %q is chosen: drop one of the two", extends.text, preset)
		case extends.given():
			preset, at = extends.text, extends.at
		}
	}
	if preset == "" && own == nil {
		p.add(at, "no mapping: choose a preset or give a file%s", suggest("", presetNames()))
	}
	if len(p) > 0 || preset == "" {
		return own, p.err()
	}
	source, err := Preset(preset)
	if err != nil {
		p.add(at, "%v", err)
		return nil, p.err()
	}
	base, err := parse(preset+".toml", source)
	if err != nil || own == nil {
		return base, err
	}
	overlay(base, own)
	return base, p.err()
}

// mergedByName are the tables' keys whose entries are laid over one by one.
var mergedByName = []string{"parents", "format", "include", "collect"}

func overlay(base, own *tomlpos.Node) {
	for _, e := range own.Entries {
		under := base.Get(e.Key)
		switch {
		case under == nil || under.Kind != e.Value.Kind || e.Value.Kind == tomlpos.Scalar:
			base.Set(e.Key, e.At, e.Value)
		case e.Key == "tables":
			for _, t := range e.Value.Entries {
				overlayTable(under, t)
			}
		case e.Key == "events":
			overlayEvents(under, e.Value)
		default:
			base.Set(e.Key, e.At, e.Value)
		}
	}
}

func overlayTable(tables *tomlpos.Node, own tomlpos.Entry) {
	under := tables.Get(own.Key)
	if under == nil || own.Value.Kind != tomlpos.Table {
		tables.Set(own.Key, own.At, own.Value)
		return
	}
	for _, e := range own.Value.Entries {
		below := under.Get(e.Key)
		if below == nil || e.Value.Kind != tomlpos.Table || !slices.Contains(mergedByName, e.Key) {
			under.Set(e.Key, e.At, e.Value)
			continue
		}
		for _, one := range e.Value.Entries {
			below.Set(one.Key, one.At, one.Value)
		}
	}
}

func overlayEvents(events, own *tomlpos.Node) {
	fromPreset := len(events.Items)
	for _, event := range own.Items {
		name := nameOf(event)
		i := slices.IndexFunc(events.Items[:fromPreset], func(n *tomlpos.Node) bool {
			return name != "" && nameOf(n) == name
		})
		if i >= 0 && events.Items[i].At.File != event.At.File {
			events.Items[i] = event
			continue
		}
		events.Items = append(events.Items, event) // A second one of its name is reported as a duplicate.
	}
}

func nameOf(event *tomlpos.Node) string {
	if n := event.Get("name"); n != nil {
		name, _ := n.Scalar.(string)
		return name
	}
	return ""
}
