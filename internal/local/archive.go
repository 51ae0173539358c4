package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// Archive keeps evidence as files in a folder, readable by its owner only.
type Archive struct{ folder string }

// NewArchive returns the archive in the folder, which is created with the first file.
func NewArchive(folder string) *Archive { return &Archive{folder} }

// PutIfAbsent stores data in the file of that name, a path with slashes below the folder. The file appears whole or not
// at all. If it exists it stays as it is, and the answer is nil when its content is the same, an error when it differs.
func (a *Archive) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	err := ctx.Err()
	if err == nil {
		err = a.putIfAbsent(name, data)
	}
	if err != nil {
		return fmt.Errorf("archive %q: %w", name, err)
	}
	return nil
}

const temporaryPrefix = ".keyturn-"

func (a *Archive) putIfAbsent(name string, data []byte) error {
	if !fs.ValidPath(name) || name == "." {
		return errors.New("the name is not a path below the archive")
	}
	if err := os.MkdirAll(a.folder, 0o700); err != nil {
		return err
	}
	// A root does not follow symbolic links out of the folder either.
	root, err := os.OpenRoot(a.folder)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}

	temporary := path.Join(path.Dir(name), temporaryPrefix+rand.Text())
	defer func() { _ = root.Remove(temporary) }()
	if err := writeAndSync(root, temporary, data); err != nil {
		return err
	}
	// Unlike a rename, a link never replaces a file.
	err = root.Link(temporary, name)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	stored, err := root.ReadFile(name)
	if err != nil {
		return err
	}
	if !bytes.Equal(stored, data) {
		return errors.New("the name is taken by other content")
	}
	return nil
}

// writeAndSync writes a new file and returns when the disk has it.
func writeAndSync(root *os.Root, name string, data []byte) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}
