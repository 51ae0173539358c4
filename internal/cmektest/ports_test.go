package cmektest_test

import (
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

var (
	_ ledger.Store   = (*cmektest.Store)(nil)
	_ cmek.Archive   = (*cmektest.Archive)(nil)
	_ alert.Notifier = (*cmektest.Notifier)(nil)
)
