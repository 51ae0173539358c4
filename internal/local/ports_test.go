package local_test

import (
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

var (
	_ ledger.Store   = (*local.Store)(nil)
	_ cmek.Archive   = (*local.Archive)(nil)
	_ alert.Notifier = (*local.Terminal)(nil)
)
