/* The reference at /docs: Swagger UI over openapi.json, with the address of this page as its server, whatever prefix a proxy has. */

const dark = matchMedia('(prefers-color-scheme: dark)')
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', follow)
follow()

const answer = await fetch('openapi.json')
const spec = await answer.json()
spec.servers = [{ url: new URL('.', location.href).href.replace(/\/$/, '') }]

// An example of a second of hands has thousands of numbers, each of which the viewer would wrap in an object of its own: text has none.
for (const { post } of Object.values(spec.paths)) {
  for (const { examples = {} } of Object.values(post?.requestBody?.content ?? {})) {
    for (const example of Object.values(examples)) example.value = JSON.stringify(example.value)
  }
}

window.SwaggerUIBundle({
  spec,
  dom_id: '#docs',
  deepLinking: true, // #/forecast/forecast_hands opens an operation
  docExpansion: 'list',
  filter: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  persistAuthorization: false, // a key is kept until the page is left, and written nowhere
  syntaxHighlight: false, // colours of a second of hands take seconds
  validatorUrl: null, // the default sends the document to another site
})
