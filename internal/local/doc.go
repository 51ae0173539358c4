// Package local offers the ports of keyturn's functions on one machine: a ledger in a file, an archive in a folder, and
// alerts on the terminal. The command line and the demo run on it with no cloud account.
package local
