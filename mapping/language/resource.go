package language

import (
	"strings"

	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// loadResource reads resource_id: a column, a parent's column, a template such as "{owner}/{name}", or "tenant". The default is
// the key, its columns joined by "/".
func (l *loader) loadResource(r *rules.Rule, source *tomlpos.Node) {
	keep, _ := l.decoder.bool(source, "keep_resource_id")
	w := l.decoder.word(source, "resource_id")
	_, isColumn := r.Table.Columns[w.text] // A column may be called tenant, and then it is meant.
	if w.text == "tenant" && !isColumn || r.Event.Group > 0 || (l.rules.ResourceTenant && !keep) {
		r.Resource.Tenant = true
		if w.given() && w.text != "tenant" {
			if r.Event.Group > 0 {
				l.problems.Add(w.at, "event %s has group, so its resource_id must be \"tenant\"", r.Event.Name)
			}
			l.resourceParts(r.Table, w) // The columns are not used, but must exist.
		}
		return
	}
	if w.given() {
		r.Resource.Parts = l.resourceParts(r.Table, w)
		return
	}
	for i := range r.Table.CDC.KeyColumns {
		if i > 0 {
			r.Resource.Parts = append(r.Resource.Parts, rules.ResourcePart{Text: "/"})
		}
		r.Resource.Parts = append(r.Resource.Parts, rules.ResourcePart{Column: i, Parent: -1, IsColumn: true})
	}
}

// resourceParts reads a column, or a template with columns in braces.
func (l *loader) resourceParts(t *rules.Table, w word) []rules.ResourcePart {
	if hasItem(t, w.text) || !strings.Contains(w.text, "{") {
		if part, ok := l.resourceColumn(t, w); ok {
			return []rules.ResourcePart{part}
		}
		return nil
	}
	var parts []rules.ResourcePart
	for text := w.text; text != ""; {
		before, rest, found := strings.Cut(text, "{")
		if before != "" {
			parts = append(parts, rules.ResourcePart{Text: before})
		}
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			l.problems.Add(w.at, "resource_id %q has a { without a }", w.text)
			return nil
		}
		if part, ok := l.resourceColumn(t, word{name, w.at}); ok {
			parts = append(parts, part)
		}
		text = after
	}
	return parts
}

func (l *loader) resourceColumn(t *rules.Table, w word) (rules.ResourcePart, bool) {
	if _, own := t.Columns[w.text]; !own {
		if via, column, ok := cutParent(t, w.text); ok {
			f, ok := l.parentField(t, word{via, w.at}, word{column, w.at})
			if ok && f.Kind != rules.ParentColumn {
				l.problems.Add(w.at, "resource_id needs one column of the parent, not %q", w.text)
				return rules.ResourcePart{}, false
			}
			return rules.ResourcePart{Column: f.Column, Parent: f.Parent, IsColumn: true}, ok
		}
	}
	i, ok := l.payloadColumn(t, w)
	return rules.ResourcePart{Column: i, Parent: -1, IsColumn: true}, ok
}
