package mapping

import (
	"errors"
	"io/fs"
	"os"
	"slices"
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
func readLayers(o Options) (*node, error) {
	var own *node
	if o.File != "" {
		source, err := os.ReadFile(o.File)
		if err != nil {
			if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
				err = pathErr.Err
			}
			return nil, &Error{[]Problem{{File: o.File, Text: "cannot be read: " + err.Error()}}}
		}
		if own, err = parseTOML(o.File, source); err != nil {
			return nil, err
		}
	}
	var p problems
	d := decoder{&p}
	preset, at := o.Preset, position{file: optionsFile}
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
	base, err := parseTOML(preset+".toml", source)
	if err != nil || own == nil {
		return base, err
	}
	overlay(base, own)
	return base, p.err()
}

// mergedByName are the tables' keys whose entries are laid over one by one.
var mergedByName = []string{"parents", "format", "include", "collect"}

func overlay(base, own *node) {
	for _, e := range own.entries {
		under := base.get(e.key)
		switch {
		case under == nil || under.kind != e.value.kind || e.value.kind == scalarNode:
			base.set(e.key, e.at, e.value)
		case e.key == "tables":
			for _, t := range e.value.entries {
				overlayTable(under, t)
			}
		case e.key == "events":
			overlayEvents(under, e.value)
		default:
			base.set(e.key, e.at, e.value)
		}
	}
}

func overlayTable(tables *node, own entry) {
	under := tables.get(own.key)
	if under == nil || own.value.kind != tableNode {
		tables.set(own.key, own.at, own.value)
		return
	}
	for _, e := range own.value.entries {
		below := under.get(e.key)
		if below == nil || e.value.kind != tableNode || !slices.Contains(mergedByName, e.key) {
			under.set(e.key, e.at, e.value)
			continue
		}
		for _, one := range e.value.entries {
			below.set(one.key, one.at, one.value)
		}
	}
}

func overlayEvents(events, own *node) {
	fromPreset := len(events.items)
	for _, event := range own.items {
		name := nameOf(event)
		i := slices.IndexFunc(events.items[:fromPreset], func(n *node) bool {
			return name != "" && nameOf(n) == name
		})
		if i >= 0 && events.items[i].at.file != event.at.file {
			events.items[i] = event
			continue
		}
		events.items = append(events.items, event) // A second one of its name is reported as a duplicate.
	}
}

func nameOf(event *node) string {
	if n := event.get("name"); n != nil {
		name, _ := n.scalar.(string)
		return name
	}
	return ""
}
