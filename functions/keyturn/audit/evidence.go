package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/compliance/evidence"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
)

// EvidenceCommand is "keyturn evidence".
func (p Commands) EvidenceCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "evidence",
		Short: "List, show and verify what keyturn has archived",
		Long: `List, show and verify what keyturn has archived: a record of each re-encryption, chained for each cluster; a record
of each use of a key, by the cloud's log, that corroborates one of them, chained likewise; and the compliance runs,
chained by their manifests. Nothing is changed.`,
		Example: `  keyturn evidence list
  keyturn evidence verify`,
	}
	list := &cobra.Command{
		Use:   "list [CLUSTER]",
		Short: "List the records of re-encryptions, and those that corroborate them, of all clusters or of one by its id",
		Example: `  keyturn evidence list
  keyturn evidence list 7c1d9e20-3a4b-4c5d-8e6f-000000000003`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withArchive(c.Context(), func(ctx context.Context, a *installation.Archive) error {
				return p.listEvidence(ctx, a, append(args, "")[0])
			})
		},
	}
	show := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a file of the archive, byte for byte",
		Example: `  keyturn evidence show runs/20260301T120000Z-000012/manifest.json`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withArchive(c.Context(), func(ctx context.Context, a *installation.Archive) error {
				data, err := a.Read(ctx, args[0], "")
				if err != nil {
					return err
				}
				_, err = p.Out.Write(data)
				return err
			})
		},
	}
	manifest := ""
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Verify all of the archive",
		Long: `Verify all of the archive: the bytes of each record against the one after it, numbers and order, the ends of the
chains against the ledger and the manifests, the files of each run against its manifest, that nobody wrote a
second version or a deletion over any of it, and that each record is still the one that its proof corroborates.

Without a ledger the end of the chain of runs is vouched for by nothing in the archive: give --manifest the SHA-256
that the last message about a run has.

Exit code 3: something is not as it was written.`,
		Example: `  keyturn evidence verify
  keyturn evidence verify --deployment PROJECT/NAME
  keyturn evidence verify --archive "s3://BUCKET/PREFIX" --manifest SHA256`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			manifest = strings.ToLower(strings.TrimSpace(manifest))
			if sum, err := hex.DecodeString(manifest); manifest != "" && (err != nil || len(sum) != sha256.Size) {
				return &terminal.ConfigurationError{Problems: fmt.Errorf("--manifest is %q; want a SHA-256 of %d hex digits", manifest, hex.EncodedLen(sha256.Size))}
			}
			return p.withArchive(c.Context(), func(ctx context.Context, a *installation.Archive) error {
				return p.verifyEvidence(ctx, a, manifest)
			})
		},
	}
	verify.Flags().StringVar(&manifest, "manifest", "", "the `SHA-256` of the last manifest, from the message about the run")
	for _, sub := range []*cobra.Command{list, show, verify} {
		p.ArchiveFlag(sub)
		p.LedgerFlag(sub)
		c.AddCommand(sub)
	}
	p.OutputFlag(list)
	p.OutputFlag(verify)
	return c
}

func (p Commands) withArchive(ctx context.Context, do func(context.Context, *installation.Archive) error) (err error) {
	a, err := p.OpenArchive(ctx)
	if err != nil {
		return err
	}
	defer a.CloseInto(&err)
	return do(ctx, a)
}

func (p Commands) listEvidence(ctx context.Context, a *installation.Archive, cluster string) error {
	all, err := evidence.List(ctx, a, cluster)
	if err != nil {
		return err
	}
	if p.JSON {
		return p.PrintJSON(append([]evidence.Record{}, all...))
	}
	if len(all) == 0 {
		terminal.Tell(p.Out, "No record of a re-encryption is archived%s.\n", of(cluster))
	}
	for _, r := range all {
		note := ""
		switch {
		case r.Deleted:
			note = "  DELETED"
		case r.Versions > 1:
			note = "  " + terminal.Count(r.Versions, "version")
		}
		terminal.Tell(p.Out, "%s  %7d  %s%s\n", r.At.UTC().Format(time.DateTime), r.Bytes, terminal.Printable(r.Name), note)
	}
	return nil
}

// of says of which cluster there is no record. A name finds none: records are kept by the id.
func of(cluster string) string {
	switch {
	case cluster == "":
		return ": one is written when keyturn has re-encrypted a store key"
	case uuid.MatchString(cluster):
		return " of cluster " + cluster
	}
	return " under " + terminal.Printable(cluster) + ": name the cluster by its id, as \"keyturn status -o json\" shows it"
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (p Commands) verifyEvidence(ctx context.Context, a *installation.Archive, manifest string) error {
	var heads evidence.Heads
	if a.Ledger != nil {
		var err error
		if heads, err = evidence.HeadsOf(ctx, a.Ledger); err != nil {
			return err
		}
	}
	heads.Manifest = manifest
	v, err := evidence.Verify(ctx, a, heads)
	if err != nil {
		return err
	}
	if p.JSON {
		err = p.PrintJSON(v)
	} else {
		p.printVerification(v, a.Ledger != nil)
	}
	if err == nil && len(v.Problems) > 0 {
		return terminal.ErrNeedsPerson
	}
	return err
}

func (p Commands) printVerification(v evidence.Verification, withLedger bool) {
	c := p.Palette()
	for _, problem := range v.Problems {
		terminal.Tell(p.Out, "%s  %s\n  %s\n", c.Red(string(problem.Kind)), terminal.Printable(problem.Name), terminal.Printable(problem.What))
	}
	for _, note := range v.Notes {
		terminal.Tell(p.Out, "%s\n", terminal.Printable(note))
	}
	against := "with the ledger and the manifests"
	if !withLedger {
		against = "with the manifests; no ledger is named"
	}
	verdict := c.Green("As written")
	if n := len(v.Problems); n > 0 {
		verdict = c.Red(terminal.Count(n, "problem"))
	}
	terminal.Tell(p.Out, "%s, compared %s:\n", verdict, against)
	terminal.Tell(p.Out, "  %s of re-encryptions\n", terminal.Count(v.Records, "record"))
	terminal.Tell(p.Out, "  %s corroborating them\n", terminal.Count(v.Proofs, "record"))
	terminal.Tell(p.Out, "  %s with %s\n", terminal.Count(v.Runs, "compliance run"), terminal.Count(v.Files, "file"))
	terminal.Tell(p.Out, "  %s\n", terminal.Count(v.Others, "other file"))
	if v.Pending > 0 {
		terminal.Tell(p.Out, "  %s still to be archived, which the ledger has\n", terminal.Count(v.Pending, "record"))
	}
}
