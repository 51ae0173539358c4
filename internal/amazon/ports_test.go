package amazon_test

import (
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/ledger"
)

var (
	_ ledger.Store      = (*amazon.Store)(nil)
	_ rotation.KMS      = (*amazon.KMS)(nil)
	_ rotation.Archive  = (*amazon.Archive)(nil)
	_ rotation.Notifier = (*amazon.Notifier)(nil)
)
