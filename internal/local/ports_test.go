package local_test

import (
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

var (
	_ ledger.Store      = (*local.Store)(nil)
	_ rotation.Archive  = (*local.Archive)(nil)
	_ rotation.Notifier = (*local.Terminal)(nil)
)
