package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manualCommand writes what packages hold beside the program. It is for those who build it.
func (p *program) manualCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "manual DIR",
		Short:   "Write manual pages and shell completions to a folder",
		Long:    `Write the manual pages (man1) and the completions for bash, zsh, fish and PowerShell to a folder.`,
		Example: `  keyturn manual dist`,
		Args:    cobra.ExactArgs(1),
		Hidden:  true,
		RunE: func(c *cobra.Command, args []string) error {
			return writeManual(c.Root(), args[0])
		},
	}
}

func writeManual(root *cobra.Command, dir string) error {
	pages, completions := filepath.Join(dir, "man", "man1"), filepath.Join(dir, "completions")
	for _, folder := range []string{pages, completions} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	root.DisableAutoGenTag = true // the date would make each build another one
	epoch := time.Unix(0, 0).UTC()
	if err := doc.GenManTree(root, &doc.GenManHeader{Title: "KEYTURN", Section: "1", Source: "keyturn", Manual: "keyturn", Date: &epoch}, pages); err != nil {
		return fmt.Errorf("write manual pages: %w", err)
	}
	for name, write := range map[string]func(string) error{
		"keyturn.bash": func(file string) error { return root.GenBashCompletionFileV2(file, true) },
		"_keyturn":     root.GenZshCompletionFile,
		"keyturn.fish": func(file string) error { return root.GenFishCompletionFile(file, true) },
		"keyturn.ps1":  root.GenPowerShellCompletionFileWithDesc,
	} {
		if err := write(filepath.Join(completions, name)); err != nil {
			return fmt.Errorf("write completion: %w", err)
		}
	}
	return nil
}
