package rules

import "slices"

// NeededRows lists the parents and children of a row that a rule or an object uses.
type NeededRows struct {
	Parents   []int
	Collected []*Collect
}

// AddFields adds what the fields use.
func (n *NeededRows) AddFields(fields []Field) {
	for _, f := range fields {
		switch f.Kind {
		case ParentColumn, SpliceField, IncludeField:
			n.Parents = append(n.Parents, f.Parent)
		case CollectField:
			n.Collected = append(n.Collected, f.Collect)
		case ChildrenField:
			n.Collected = append(n.Collected, &f.Children.Collect)
		}
	}
}

// FindNeededRows records which mirrored rows the rule uses.
func (r *Rule) FindNeededRows() {
	var needed NeededRows
	needed.AddFields(r.Data.Fields)
	for _, part := range r.Resource.Parts {
		if part.IsColumn && part.Parent >= 0 {
			needed.Parents = append(needed.Parents, part.Parent)
		}
	}
	for _, c := range []*Condition{r.When, r.delayCondition()} {
		if c != nil {
			needed.Parents = append(needed.Parents, c.Parents...)
		}
	}
	slices.Sort(needed.Parents)
	r.Parents, r.Collected = slices.Compact(needed.Parents), needed.Collected
}
