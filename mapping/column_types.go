package mapping

// valueKind groups the PostgreSQL types that are written to JSON in the same way.
type valueKind uint8

const (
	textKind valueKind = iota
	boolKind
	intKind
	numberKind // numeric and floats, with NaN and Infinity
	jsonKind
	timestampKind   // without time zone; taken as UTC
	timestamptzKind // the session that reads it has the time zone UTC
	byteaKind
)

// columnType is the kind of a column, or of the elements of an array column.
type columnType struct {
	kind  valueKind
	array bool
}

// typeOfOID holds the built-in types by their OIDs, which never change:
// https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat. Any other type is text.
var typeOfOID = map[uint32]columnType{
	16: {kind: boolKind}, 1000: {boolKind, true},
	17: {kind: byteaKind}, 1001: {byteaKind, true},
	20: {kind: intKind}, 1016: {intKind, true},
	21: {kind: intKind}, 1005: {intKind, true},
	23: {kind: intKind}, 1007: {intKind, true},
	26: {kind: intKind}, 1028: {intKind, true},
	114: {kind: jsonKind}, 199: {jsonKind, true},
	3802: {kind: jsonKind}, 3807: {jsonKind, true},
	700: {kind: numberKind}, 1021: {numberKind, true},
	701: {kind: numberKind}, 1022: {numberKind, true},
	1700: {kind: numberKind}, 1231: {numberKind, true},
	1114: {kind: timestampKind}, 1115: {timestampKind, true},
	1184: {kind: timestamptzKind}, 1185: {timestamptzKind, true},
	1002: {textKind, true}, // "char"[]
	1003: {textKind, true}, // name[]
	1009: {textKind, true}, // text[]
	1014: {textKind, true}, // char(n)[]
	1015: {textKind, true}, // varchar[]
	1182: {textKind, true}, // date[]
	1183: {textKind, true}, // time[]
	2951: {textKind, true}, // uuid[]
	1041: {textKind, true}, // inet[]
}

// identifierOIDs holds the types that a resource_id may have: uuid, and the character types, in which some IAMs store uuids.
var identifierOIDs = map[uint32]bool{2950: true, 25: true, 1043: true, 1042: true, 19: true}
