package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// List yields the files below the folder. Each has one version: what was there before it is not known.
func (a *Archive) List(ctx context.Context, prefix string) iter.Seq2[cmek.Stored, error] {
	return func(yield func(cmek.Stored, error) bool) {
		names, err := a.names(ctx, prefix)
		if err != nil {
			yield(cmek.Stored{}, fmt.Errorf("list archive %q: %w", prefix, err))
			return
		}
		for _, s := range names {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func (a *Archive) names(ctx context.Context, prefix string) (all []cmek.Stored, err error) {
	err = fs.WalkDir(os.DirFS(a.folder), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case name == "." && errors.Is(err, fs.ErrNotExist):
			return fs.SkipAll // nothing was archived yet
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case entry.IsDir() || !strings.HasPrefix(name, prefix) || strings.HasPrefix(path.Base(name), temporaryPrefix):
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		all = append(all, cmek.Stored{Name: name, Versions: []cmek.StoredVersion{{At: info.ModTime(), Size: info.Size()}}})
		return nil
	})
	slices.SortFunc(all, func(a, b cmek.Stored) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// Read returns the file's content. The only version has no name.
func (a *Archive) Read(ctx context.Context, name, version string) ([]byte, error) {
	data, err := a.read(ctx, name, version)
	if err != nil {
		return nil, fmt.Errorf("read %q of the archive: %w", name, err)
	}
	return data, nil
}

func (a *Archive) read(ctx context.Context, name, version string) ([]byte, error) {
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case version != "":
		return nil, cmek.ErrNotFound
	case !fs.ValidPath(name) || name == ".":
		return nil, errors.New("the name is not a path below the archive")
	}
	root, err := os.OpenRoot(a.folder)
	if err == nil {
		defer func() { _ = root.Close() }()
		var data []byte
		if data, err = root.ReadFile(name); err == nil {
			return data, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cmek.ErrNotFound
	}
	return nil, err
}
