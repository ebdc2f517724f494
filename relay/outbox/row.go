package outbox

import (
	"encoding/json"
	"fmt"

	"github.com/iam-relay/iam-relay/cdc"
)

// storedFields returns a row as the mirror stores it: a JSON object of the known columns, each a string or null. It names the columns,
// so that rows written under an older mapping stay readable. Secret columns are encrypted and bound to the stored key.
func storedFields(t *cdc.Table, key string, row cdc.Row, k *keys) []byte {
	size := 2
	for i := range row {
		size += len(t.Columns[i].Name) + len(row[i].Text) + len(`"":"",`)
	}
	dst := append(make([]byte, 0, size), '{')
	for i, v := range row {
		if !v.Known() {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = appendString(dst, t.Columns[i].Name)
		dst = append(dst, ':')
		switch {
		case v.Kind == cdc.Null:
			dst = append(dst, "null"...)
		case t.Columns[i].Secret:
			dst = appendString(dst, k.encrypt(v.Text, mirrorLocation(t, key, i)))
		default:
			dst = appendString(dst, v.Text)
		}
	}
	return append(dst, '}')
}

func mirrorLocation(t *cdc.Table, key string, column int) location {
	return location{"mirror " + t.Name, key, t.Columns[column].Name}
}

func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x80 {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always marshals
				panic(err)
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// parseRow reads a stored row. A column that the row does not name is absent; one that the mapping no longer has is dropped.
func parseRow(t *cdc.Table, key string, data []byte, k *keys) (cdc.Row, error) {
	var values map[string]*string
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("mirrored row of %s: %w", t.Name, err)
	}
	row := make(cdc.Row, len(t.Columns))
	for i := range t.Columns {
		switch v, ok := values[t.Columns[i].Name]; {
		case !ok:
		case v == nil:
			row[i] = cdc.NullValue
		case t.Columns[i].Secret:
			text, err := k.decrypt(*v, mirrorLocation(t, key, i))
			if err != nil {
				return nil, fmt.Errorf("mirrored row %s of %s %w", key, t.Name, err)
			}
			row[i] = cdc.TextValue(text)
		default:
			row[i] = cdc.TextValue(*v)
		}
	}
	return row, nil
}
