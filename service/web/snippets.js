/** The request on screen as curl, Python and JavaScript. */

const JSON_TYPE = 'application/json'

/**
 * Write a request whose body is a file; `options` are fields of a JSON body or, for a scan, of the query.
 * @param {import('./chiron.js').Chiron} chiron
 * @param {{ path: string, file: string, options: Record<string, any>, call: string, show: string, json?: boolean }} request
 */
export function snippets(chiron, { path, file, options, call, show, json = true }) {
  const base = chiron.base.href.replace(/\/$/, ''), keyed = Boolean(chiron.key)
  const query = json ? '' : `?${new URLSearchParams(options)}`, type = json ? JSON_TYPE : 'application/octet-stream'
  const curl = [
    `curl -s '${base}/${path}${query}' -H 'content-type: ${type}' \\`,
    ...(keyed ? [`  -H "x-api-key: $CHIRON_KEY" \\`] : []),
    `  --data-binary @${file} -o answer.json`,
  ]
  const headers = [`"content-type": "${type}"`, ...(keyed ? ['"x-api-key": os.environ["CHIRON_KEY"]'] : [])].join(', ')
  const python = [
    'import json', ...(keyed ? ['import os'] : []), 'from pathlib import Path', 'from urllib.request import Request, urlopen', '',
    `body = Path(${JSON.stringify(file)}).read_bytes()`,
    ...(json ? [`body = json.dumps(json.loads(body) | ${pythonOf(options)}).encode()`] : []),
    `request = Request("${base}/${path}${query}", body, {${headers}})`,
    'answer = json.load(urlopen(request))', `print(${show.replace(/\.(\w+)/g, '["$1"]')})`,
  ]
  const script = [
    `import { Chiron } from '${base}/web/chiron.js'`, '',
    `const chiron = new Chiron('${base}/'${keyed ? ', { key: KEY }' : ''})`,
    json ? `const clip = await (await fetch('${file}')).json()` : `const scan = await (await fetch('${file}')).blob()`,
    json ? `const answer = await chiron.${call}({ ...clip, ${fieldsOf(options)} })` : `const answer = await chiron.${call}(scan, { ${fieldsOf(options)} })`,
    `console.log(${show})`,
  ]
  return { curl: curl.join('\n'), Python: python.join('\n'), JavaScript: script.join('\n') }
}

const pythonOf = options => JSON.stringify(options).replace(/:/g, ': ').replace(/,/g, ', ').replace(/\btrue\b/g, 'True').replace(/\bfalse\b/g, 'False')
const fieldsOf = options => Object.entries(options).map(([name, value]) => `${name}: ${JSON.stringify(value).replaceAll('"', "'")}`).join(', ')
