package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// complete tells the shell what may follow: words where there is a choice, files where they are wanted, and else nothing.
func complete(root *cobra.Command) error {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Short = "Print a script that lets a shell complete commands"
			cmd.Long = `Print a script that lets a shell complete commands, flags and the words that they take. "tarn completion bash --help" says how a
shell gets to know it.`
			cmd.Example = "  source <(tarn completion bash)\n  tarn completion zsh > ~/.zfunc/_tarn\n  tarn completion fish | source"
			for _, shell := range cmd.Commands() {
				shell.Example = "  tarn completion " + shell.Name()
			}
		}
	}
	return completeBelow(root)
}

func completeBelow(cmd *cobra.Command) (err error) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() != "bool" && err == nil && cmd.Flag(f.Name) == f && !isInherited(cmd, f) {
			err = cmd.RegisterFlagCompletionFunc(f.Name, completeFlag(f))
		}
	})
	if cmd.ValidArgsFunction == nil && !cmd.HasSubCommands() {
		cmd.ValidArgsFunction = completeArgs(cmd)
	}
	for _, c := range cmd.Commands() {
		if err == nil && c.Name() != "completion" {
			err = completeBelow(c)
		}
	}
	return err
}

func isInherited(cmd *cobra.Command, f *pflag.Flag) bool {
	return cmd.InheritedFlags().Lookup(f.Name) != nil
}

// completeFlag goes by the flag, or by what the help calls its value.
func completeFlag(f *pflag.Flag) cobra.CompletionFunc {
	var words []cobra.Completion
	switch f.Name {
	case "compression":
		words = []cobra.Completion{"off", "fast", "default", "better", "max"}
	case "fs-snapshot":
		words = []cobra.Completion{"off", "auto", "on", "required"}
	case "overwrite":
		words = []cobra.Completion{"always", "if-changed", "never"}
	case "compare":
		words = []cobra.Completion{"times", "content"}
	case "sparse":
		words = []cobra.Completion{"auto", "always", "never"}
	case "owner":
		words = []cobra.Completion{"numeric", "names", "never"}
	case "chunker":
		words = []cobra.Completion{"gear", "rabin"}
	case "group-by":
		words = []cobra.Completion{"host", "paths", "tags"}
	}
	if words != nil {
		return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	}
	switch what, _ := pflag.UnquoteUsage(f); what {
	case "FILE", "PATH", "REPOSITORY", "COMMAND", "PATTERN":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	case "FOLDER":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	}
	return cobra.NoFileCompletions
}

// completeArgs goes by the command. Which snapshots there are would take the password, and time.
func completeArgs(cmd *cobra.Command) cobra.CompletionFunc {
	switch cmd.CommandPath() {
	case "tarn backup", "tarn source list", "tarn bench pipe", "tarn bench show":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	case "tarn mount", "tarn umount":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	case "tarn cat":
		return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []cobra.Completion{"config", "snapshot", "tree", "blob", "index", "pack"}, cobra.ShellCompDirectiveNoFileComp
		}
	case "tarn parity":
		return cobra.FixedCompletions([]cobra.Completion{"10/1", "10/2", "off"}, cobra.ShellCompDirectiveNoFileComp)
	case "tarn restore", "tarn ls", "tarn snapshots", "tarn forget", "tarn tag", "tarn rewrite", "tarn stats", "tarn check", "tarn copy", "tarn repair snapshots":
		return cobra.FixedCompletions([]cobra.Completion{"latest"}, cobra.ShellCompDirectiveNoFileComp)
	}
	return cobra.NoFileCompletions
}
