package google_test

import (
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
)

var (
	_ ledger.Store   = (*google.Store)(nil)
	_ cmek.KMS       = (*google.KMS)(nil)
	_ cmek.Policies  = (*google.Policies)(nil)
	_ cmek.Archive   = (*google.Archive)(nil)
	_ alert.Notifier = (*google.Notifier)(nil)
)
