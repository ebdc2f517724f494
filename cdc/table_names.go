package cdc

import (
	"slices"
	"strings"
)

// TableNames lists the tables' names, without their schemas, sorted and separated by commas: for messages.
func TableNames(tables []*Table) string {
	all := make([]string, len(tables))
	for i, t := range tables {
		all[i] = t.Name
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
