package value

import "github.com/iam-relay/iam-relay/cdc"

// AppendUUID writes the first 128 bits of a hash of 64 hexadecimal digits in the form of a uuid, for receivers that expect a
// uuid in the field.
func AppendUUID(dst []byte, v cdc.Value) []byte {
	if v.Kind != cdc.Text {
		return append(dst, "null"...)
	}
	h := v.Text
	if len(h) != 64 {
		return AppendString(dst, h)
	}
	dst = append(dst, '"')
	for i, from := range []int{0, 8, 12, 16, 20} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = append(dst, h[from:[]int{8, 12, 16, 20, 32}[i]]...)
	}
	return append(dst, '"')
}
