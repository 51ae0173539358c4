package cmektest_test

import (
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

var (
	_ ledger.Store      = (*cmektest.Store)(nil)
	_ rotation.Archive  = (*cmektest.Archive)(nil)
	_ rotation.Notifier = (*cmektest.Notifier)(nil)
)
