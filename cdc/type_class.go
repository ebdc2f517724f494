package cdc

const (
	bpcharOID   = 1042
	numericOID  = 1700
	float4OID   = 700
	float8OID   = 701
	intervalOID = 1186
	jsonbOID    = 3802
)

// typeClass groups the types that can be compared by value, by PostgreSQL or by their canonical forms.
type typeClass uint8

const (
	otherClass typeClass = iota
	textClass
	numberClass
	uuidClass
	timeClass
	networkClass
	exactClass           // equal values have equal texts
	caseInsensitiveClass // citext
	inexactClass         // equal values may have texts that no canonical form unifies
)

// https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
var typeClasses = map[uint32]typeClass{
	25: textClass, 1043: textClass, 19: textClass, 18: textClass, bpcharOID: textClass,
	20: numberClass, 21: numberClass, 23: numberClass, 26: numberClass, numericOID: numberClass, float4OID: numberClass, float8OID: numberClass,
	uuidOID: uuidClass, 1082: timeClass, 1114: timeClass, 1184: timeClass, 869: networkClass, 650: networkClass,
	16: exactClass, 17: exactClass, 1083: exactClass, 1266: exactClass, 829: exactClass, 774: exactClass, 1560: exactClass, 1562: exactClass,
	790: exactClass, 3220: exactClass, 5069: exactClass, intervalOID: inexactClass, jsonbOID: inexactClass,
}

func (c *Catalog) classOf(oid uint32) typeClass {
	if class, ok := c.typeClasses[oid]; ok {
		return class
	}
	return typeClasses[oid]
}
