package value

// Kind groups the PostgreSQL types that are written to JSON in the same way.
type Kind uint8

const (
	Text Kind = iota
	Bool
	Int
	Number // numeric and floats, with NaN and Infinity
	JSON
	Timestamp   // without time zone; taken as UTC
	TimestampTZ // the session that reads it has the time zone UTC
	Bytea
)

// Type is the kind of a column, or of the elements of an array column.
type Type struct {
	Kind  Kind
	Array bool
}

// TypeOfOID holds the built-in types by their OIDs, which never change:
// https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat. Any other type is text.
var TypeOfOID = map[uint32]Type{
	16: {Kind: Bool}, 1000: {Bool, true},
	17: {Kind: Bytea}, 1001: {Bytea, true},
	20: {Kind: Int}, 1016: {Int, true},
	21: {Kind: Int}, 1005: {Int, true},
	23: {Kind: Int}, 1007: {Int, true},
	26: {Kind: Int}, 1028: {Int, true},
	114: {Kind: JSON}, 199: {JSON, true},
	3802: {Kind: JSON}, 3807: {JSON, true},
	700: {Kind: Number}, 1021: {Number, true},
	701: {Kind: Number}, 1022: {Number, true},
	1700: {Kind: Number}, 1231: {Number, true},
	1114: {Kind: Timestamp}, 1115: {Timestamp, true},
	1184: {Kind: TimestampTZ}, 1185: {TimestampTZ, true},
	1002: {Text, true}, // "char"[]
	1003: {Text, true}, // name[]
	1009: {Text, true}, // text[]
	1014: {Text, true}, // char(n)[]
	1015: {Text, true}, // varchar[]
	1182: {Text, true}, // date[]
	1183: {Text, true}, // time[]
	2951: {Text, true}, // uuid[]
	1041: {Text, true}, // inet[]
}
