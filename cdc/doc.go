// Package cdc (change data capture) reads committed row changes from PostgreSQL: it manages the publication and the replication
// slot, reads snapshots, and decodes the logical replication stream into whole transactions.
//
// Only the columns that a Table names leave the package. It acknowledges only positions that its consumer has reported as
// durable. It never makes statements of the source's applications fail: it alters no table, and it closes its connection rather
// than delay a server shutdown.
package cdc
