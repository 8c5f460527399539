"""What shells read to complete the command.

A script hands over the line up to the cursor, and is answered with lines of KIND, VALUE and ABOUT between tabs: `file`
and `dir` leave it to the shell, behind `open` no blank is put. The texts are formatted with `%` by click.
"""

BASH = r"""
%(complete_func)s() {
    local line kind value program=${1/#\~\//$HOME/}
    type -P "$program" > /dev/null || program=%(prog_name)s
    COMPREPLY=()
    while IFS= read -r line; do
        kind=${line%%%%$'\t'*} value=${line#*$'\t'} value=${value%%%%$'\t'*}
        case $kind in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            open) compopt -o nospace; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE=${COMP_LINE:0:COMP_POINT} COMP_BREAKS=$COMP_WORDBREAKS %(complete_var)s=bash_complete \
        "$program" 2> /dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2> /dev/null || complete -F %(complete_func)s %(prog_name)s
"""
ZSH = r"""
#compdef %(prog_name)s
%(complete_func)s() {
    local -a plain open
    local line kind value
    for line in "${(@f)$(COMP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" %(complete_var)s=zsh_complete \
            ${words[1]/#\~\//$HOME/} 2> /dev/null)}"; do
        kind=${line%%%%$'\t'*} value=${line#*$'\t'}
        case $kind in
            file) [[ $PREFIX == --*=* ]] && compset -P '--*='; _files ;;
            dir) [[ $PREFIX == --*=* ]] && compset -P '--*='; _files -/ ;;
            open) open+=("$value") ;;
            plain) plain+=("$value") ;;
        esac
    done
    (( $#plain )) && _describe -V completion plain
    (( $#open )) && _describe -V completion open -S ''
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef %(complete_func)s %(prog_name)s
fi
"""
FISH = r"""
function %(complete_func)s
    set -l program (string replace -r '^~/' "$HOME/" -- (commandline -opc)[1])
    command -q $program; or set program %(prog_name)s
    for line in (env COMP_LINE=(commandline -cp | string collect) %(complete_var)s=fish_complete $program 2> /dev/null)
        set -l parts (string split \t -- $line)
        switch $parts[1]
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
            case plain open
                string join \t -- $parts[2..3]
        end
    end
end
complete --no-files --keep-order --command %(prog_name)s --arguments '(%(complete_func)s)'
"""
