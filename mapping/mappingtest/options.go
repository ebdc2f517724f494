package mappingtest

import (
	"strings"
	"testing"
)

// ParseOptions reads the options of a test case, such as "preset=ferriskey drop=user.created,user.deleted".
func ParseOptions(t testing.TB, line string) (preset, resourceID string, drop []string) {
	t.Helper()
	for f := range strings.FieldsSeq(line) {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "preset":
			preset = value
		case "resource_id":
			resourceID = value
		case "drop":
			drop = strings.Split(value, ",")
		default:
			t.Fatalf("unknown option %q", name)
		}
	}
	return preset, resourceID, drop
}
