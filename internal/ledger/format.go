package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// format is the number of the form in which items are stored. It grows when an item's fields change so that a program which does not
// know them would lose something by writing the item: such a program refuses the item. Items of form 1
// do not say it.
const format = 3

// ErrNewer is, wrapped with the record's name and beside [ErrUndecodable], the error about an item that a newer release of keyturn has
// stored. It is neither read nor written.
var ErrNewer = errors.New("a newer release of keyturn stored it")

var formatField = []byte(`{"format":`)

// stamped puts the form's number before the item's fields. A list, which has none, stays as it is.
func stamped(object []byte) []byte {
	if object[0] != '{' {
		return object
	}
	stamp := append(bytes.Clone(formatField), strconv.Itoa(format)...)
	if fields := object[1:]; fields[0] != '}' {
		return append(append(stamp, ','), fields...)
	}
	return append(stamp, '}')
}

// checkFormat returns an error if the item, JSON that stamped has made or of an earlier release, is of a newer form.
func checkFormat(item []byte) error {
	rest, found := bytes.CutPrefix(item, formatField)
	if !found {
		return nil
	}
	number := string(rest[:max(0, bytes.IndexAny(rest, ",}"))])
	if n, err := strconv.Atoi(number); err == nil && n <= format {
		return nil
	}
	return fmt.Errorf("%w, in form %s; this one knows %d: use that release or a later one", ErrNewer, number, format)
}
