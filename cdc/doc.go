// Package cdc reads committed row changes from PostgreSQL: publication, slot, snapshot and the logical replication stream,
// decoded into whole transactions.
//
// Only the columns that a Table names ever leave the package, and it acknowledges nothing by itself: the server is told the
// position that the consumer has called durable, and no other. Nothing the package does can make the statements of the
// source's applications fail: it alters no table, and it closes its connection rather than hold up a server's shutdown.
package cdc
