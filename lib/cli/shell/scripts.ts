// The scripts that connect shells to `heddle completion SHELL INDEX -- WORDS...`. That command prints a line for each candidate, and then
// `:none`, `:files` or `:folders`. The scripts run the program whose name is typed, so that several versions can be installed.

const bash = `# Completes heddle in Bash. Add to ~/.bashrc:  source <(heddle completion bash)
_heddle() {
  local line files=none
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :none|:files|:folders) files=\${line#:} ;;
      *) COMPREPLY+=("$line") ;;
    esac
  done < <("\${COMP_WORDS[0]/#\\~/$HOME}" completion bash $((COMP_CWORD - 1)) -- "\${COMP_WORDS[@]:1}" 2>/dev/null)
  case $files in
    none) compopt +o default 2>/dev/null ;;
    folders) compopt +o default -o dirnames 2>/dev/null ;;
  esac
}
complete -o default -F _heddle heddle`;

const zsh = `#compdef heddle
# Completes heddle in zsh. Add to ~/.zshrc, after compinit:  source <(heddle completion zsh)
_heddle() {
  local line files=none
  local -a found
  while IFS= read -r line; do
    case $line in
      :none|:files|:folders) files=\${line#:} ;;
      *$'\\t'*) found+=("\${\${line%%$'\\t'*}//:/\\:}:\${line#*$'\\t'}") ;;
      *) found+=("\${line//:/\\:}") ;;
    esac
  done < <("\${words[1]/#\\~/$HOME}" completion zsh $((CURRENT - 2)) -- "\${(@Q)words[2,-1]}" 2>/dev/null)
  (( $#found )) && _describe heddle found
  [[ $files == none ]] && return
  compset -P '--*='
  if [[ $files == folders ]]; then _files -/; else _files; fi
}
if [[ $funcstack[1] == _heddle ]]; then _heddle "$@"; else compdef _heddle heddle; fi`;

const fish = `# Completes heddle in fish. Save as ~/.config/fish/completions/heddle.fish
function __heddle_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l option (string match -r -- '^--[^=]*=' "$current")
    set -l path (string replace -r -- '^--[^=]*=' '' "$current")
    for line in ($words[1] completion fish (math (count $words) - 1) -- $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case :none
            case :files
                __fish_complete_path "$path" | string replace -r -- '^' "$option"
            case :folders
                __fish_complete_directories "$path" '' | string replace -r -- '^' "$option"
            case '*'
                echo $line
        end
    end
end
complete -c heddle -f -a '(__heddle_complete)'`;

// PowerShell completes files itself if a script returns nothing.
const powershell = `# Completes heddle in PowerShell. Add to $PROFILE:  heddle completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName heddle -ScriptBlock {
    param($word, $ast, $cursor)
    $words = @($ast.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursor } | ForEach-Object { $_.ToString() })
    $index = if ($word -eq '') { $words.Count - 1 } else { $words.Count - 2 }
    $rest = @($words | Select-Object -Skip 1)
    & $words[0] completion powershell $index '--' @rest 2>$null | Where-Object { $_ -notmatch '^:(none|files|folders)$' } | ForEach-Object {
        $text, $about = $_ -split ([char]9), 2
        if (-not $about) { $about = $text }
        [System.Management.Automation.CompletionResult]::new($text, $text, 'ParameterValue', $about)
    }
}`;

/** The completion scripts by shell. */
export const scripts: Readonly<Record<string, string>> = { bash, zsh, fish, powershell };
