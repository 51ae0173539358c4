package main

import (
	"flag"
	"testing"

	"github.com/keyturn/keyturn/internal/cmektest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestTheModulesLinkedIntoTheFunctionAreThoseOnTheList(t *testing.T) {
	cmektest.LinksModules(t, *update)
}
